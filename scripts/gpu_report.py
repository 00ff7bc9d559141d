"""Tests, kernels and layers on one GPU, in at most ten minutes, as one Markdown file.

make gpu
python scripts/gpu_report.py --dry-run    # every step on the CPU, at sizes whose times mean nothing

Runs the tests marked gpu; times the fused kernels against a copy of the same bytes; times a layer
of d = 4096 in bfloat16 and in NF4, eager and compiled, with each adapter. Writes Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if __name__ == "__main__":  # before the first import of Triton, which reads it once
    os.environ["TRITON_INTERPRET"] = "1" if "--dry-run" in sys.argv else "0"

import torch

from goft_cli.rotation import force_engine
from goft_cli.run.manifest import installed_version, source_revision
from scripts.benchmarks import layers
from scripts.benchmarks.budget import LEFT_OUT, Budget, measure, sentence
from scripts.benchmarks.kernels import kernels, rates
from scripts.benchmarks.machine import name_of
from scripts.benchmarks.tables import Record, markdown_of
from scripts.benchmarks.timing import sync_of

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 560.0
"""The rest of the ten minutes, forty seconds, is for imports and steps that end late."""
GOAL = 0.5
"""The most that a rotation should take over the frozen layer, as a share of LoRA's."""
TESTS_SHARE = 0.4
"""Of the budget, at most."""
TESTS, KERNELS = "tests marked gpu", "kernels"
LEGEND = (
    "us is the median time of a call in microseconds, low and high are its quartiles. "
    "Kernels: GB/s counts each tensor that a call reads or writes once. Layers: forward and "
    "backward, rotations by the fused kernels alone; peak is the memory that a step takes beyond "
    "weights and parameters; graphs is how many torch.compile made, one if it took the layer whole."
)
PACKAGES = ("goft-cli", "torch", "triton", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Plan:
    """What is measured, and where.

    Attributes:
        device: where.
        sizes: vectors and width of what the kernels turn.
        calls: of a kernel in one timing.
        tokens: batch and length of what passes the layer.
        width: of the layer.
        rounds: of all cases, where there is time.
        backend: of torch.compile.
    """

    device: torch.device
    sizes: tuple[tuple[int, int], ...]
    calls: int
    tokens: tuple[int, int]
    width: int
    rounds: int
    backend: str


REAL = Plan(
    device=torch.device("cuda"),
    sizes=((4096, 768), (4096, 4096), (16384, 4096), (1024, 16384)),
    calls=10,
    tokens=(4, 2048),
    width=4096,
    rounds=100,
    backend="inductor",
)
DRY = Plan(torch.device("cpu"), ((2, 12), (2, 33)), 1, (2, 2), 64, 2, "aot_eager")


@dataclass(frozen=True)
class Part:
    """A table of the report and what fills it."""

    title: str
    rows: Callable[[], list[Record]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, name what was written; 2 without a GPU, 1 where a test does not pass."""
    words = parse(arguments)
    if not words.dry_run and not torch.cuda.is_available():
        print(
            "gpu_report: found no CUDA device, expected one; run it on a machine with an NVIDIA "
            "GPU and PyTorch for CUDA, or pass --dry-run, which tries every step on the CPU",
            file=sys.stderr,
        )
        return 2
    plan, budget = DRY if words.dry_run else REAL, Budget(words.seconds)
    facts = machine(plan)
    tables: dict[str, list[Record]] = {}
    for part in parts(plan, budget):
        print(f"{part.title}: {max(budget.left(), 0):.0f} seconds are left", flush=True)
        tables[part.title] = rows_of(part)
        write(words.output, facts, tables, words.dry_run)  # what there is, should the rest fail
    print(goal(tables, words.dry_run))
    print(f"written: {words.output}, {words.output.with_suffix('.json')}")
    return 0 if tables[TESTS][0]["note"] == "" else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", help="tiny, interpreted, on the CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that all of it may take")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/gpu.md"))
    return parser.parse_args(arguments)


def parts(plan: Plan, budget: Budget) -> list[Part]:
    """All tables, the most important first, because the time may not be enough for all."""
    found = [Part(TESTS, partial(tests, budget))]
    for backend in ("", plan.backend):
        for base in layers.BASES:
            title = f"one layer, {base} weight, {'torch.compile' if backend else 'eager'}"
            found.append(Part(title, partial(layer_rows, plan, budget, base, backend)))
    found.insert(2, Part(KERNELS, partial(kernel_rows, plan, budget)))
    return found


def rows_of(part: Part) -> list[Record]:
    """Fill one table, or say which error kept it empty."""
    try:
        return part.rows()
    except Exception as error:  # a GPU that has failed once fails at every call
        return [{"case": part.title, "note": sentence(error)}]


def tests(budget: Budget) -> list[Record]:
    """Run the tests that need a GPU in a process of their own, and count how they ended."""
    folder = ROOT / "tests"
    files = [str(p) for p in sorted(folder.rglob("test_*.py")) if "mark.gpu" in p.read_text()]
    pytest = [sys.executable, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider"]
    limit = min(TESTS_SHARE * budget.seconds, max(budget.left(), 0))
    try:
        done = subprocess.run(
            [*pytest, "-m", "gpu", *files],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
        )
        said, ended = done.stdout.decode(), f"pytest ended with {done.returncode}"
        note = "" if done.returncode == 0 else ended
    except subprocess.TimeoutExpired as late:
        said, note = (late.stdout or b"").decode(), f"the rest is {LEFT_OUT}"
    if note:
        print(said)
    wrong = re.findall(r"^(?:FAILED|ERROR) .*", said, re.MULTILINE)
    ends = Counter(re.findall(r"::\S+ (PASSED|FAILED|SKIPPED|ERROR)", said))
    counts: Record = {
        "passed": ends["PASSED"],
        "failed": ends["FAILED"] + ends["ERROR"],
        "skipped": ends["SKIPPED"],
    }
    return [counts | {"note": "; ".join([note, *wrong[:1]]) if note else ""}]


def kernel_rows(plan: Plan, budget: Budget) -> list[Record]:
    """Both passes of both rotations and a copy, by size and dtype."""
    found: list[Record] = []
    sync = sync_of(plan.device)
    for rows, width in plan.sizes:
        for dtype in (torch.bfloat16, torch.float32):
            makers = kernels(rows, width, dtype, plan.device, plan.calls)
            samples, failed = measure(makers, plan.rounds, budget, sync)
            good = rates(samples, rows * width * dtype.itemsize, plan.calls)
            case: Record = {"vectors": f"{rows} x {width}", "dtype": str(dtype)[6:]}
            found += [case | row for row in joined(makers, good, failed)]
    return found


def layer_rows(plan: Plan, budget: Budget, base: str, backend: str) -> list[Record]:
    """A step of the layer with each adapter, all of them by the fused engine."""
    torch.compiler.reset()  # it compiles one function for a few cases only
    x = torch.randn(*plan.tokens, plan.width, dtype=torch.bfloat16, device=plan.device)
    found: dict[str, Record] = {}
    names = (layers.FROZEN, *layers.ADAPTERS)
    makers = {name: partial(layers.tried, name, base, x, backend, found) for name in names}
    with force_engine("fused"):  # another one would be an error, and not a slower row
        samples, failed = measure(makers, plan.rounds, budget, sync_of(plan.device))
    return joined(names, layers.overheads(samples, found), failed)


def joined(
    names: Iterable[str], good: Mapping[str, Record], failed: Mapping[str, str]
) -> list[Record]:
    """A row for each name: what was measured, or why nothing was."""
    return [{"case": name} | good.get(name, {}) | {"note": failed.get(name, "")} for name in names]


def goal(tables: Mapping[str, Sequence[Record]], dry: bool) -> str:
    """Say whether the rotations' overhead is as small as it should be."""
    rows = [(title, row) for title, rows in tables.items() for row in rows]
    rows = [(title, row) for title, row in rows if row.get("case") in layers.ROTATIONS]
    found = [(float(row[layers.RATIO]), title, row) for title, row in rows if layers.RATIO in row]
    aim = f"Goal: GOFT and qGOFT add at most {GOAL} of the time that {layers.REFERENCE} adds"
    if dry:
        return f"{aim}: open, a dry run says nothing about it."
    if not found:
        return f"{aim}: open, nothing was measured."
    most, title, row = max(found, key=lambda one: one[0])
    holds = "holds" if most <= GOAL else "does not hold"
    figures = f"{len(found)} of {len(rows)} cases measured"
    return f"{aim}: {holds}; the most is {most} ({row['case']}, {title}), {figures}."


def machine(plan: Plan) -> dict[str, str]:
    """Hardware and versions; read at the start, because a failed GPU no longer answers."""
    versions = {name: installed_version(name) or "not installed" for name in PACKAGES}
    return {
        "device": name_of(plan.device),
        "driver": driver(),
        "CUDA": torch.version.cuda or "none",
        **versions,
        "source revision": source_revision() or "unknown",
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
        "command": shlex.join(["python", "scripts/gpu_report.py", *sys.argv[1:]]),
    }


def driver() -> str:
    """Version of NVIDIA's driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "none"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.partition("\n")[0] or "unknown"


def write(
    target: Path, facts: Mapping[str, str], tables: Mapping[str, Sequence[Record]], dry: bool
) -> None:
    """Write what there is so far, as Markdown and as JSON."""
    title = "DRY RUN on a CPU: the times mean nothing" if dry else facts["device"]
    lines = [
        f"# GPU report, {title}",
        markdown_of([{"what": key, "found": value} for key, value in facts.items()]),
        goal(tables, dry),
        LEGEND,
    ]
    for name, rows in tables.items():
        lines += [f"## {name}", markdown_of(rows)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n\n".join(line.rstrip("\n") for line in lines) + "\n", "utf-8")
    content = {"dry_run": dry, "machine": facts, "goal": goal(tables, dry), "tables": tables}
    target.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())

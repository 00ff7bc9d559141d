"""Test and time the fused kernels and a layer on one GPU within ten minutes; write a report.

make gpu
python scripts/gpu_report.py --dry-run    # run every step on the CPU; its times mean nothing

Runs the tests marked gpu; times the fused kernels and a copy of their vectors; times a layer
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
if __name__ == "__main__":  # Triton reads it once, at its first import
    os.environ["TRITON_INTERPRET"] = "1" if "--dry-run" in sys.argv else "0"

import torch

from goft_cli.rotation import force_engine
from goft_cli.run.manifest import installed_version, source_revision
from scripts.benchmarks import layers
from scripts.benchmarks.budget import LEFT_OUT, Budget, error_line, measure
from scripts.benchmarks.kernels import kernel_makers, rates
from scripts.benchmarks.machine import name_of
from scripts.benchmarks.tables import Record, markdown_of
from scripts.benchmarks.timing import sync_of

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 560.0
"""The time budget; the other forty seconds of ten minutes are for imports and late steps."""
GOAL = 0.5
"""The most overhead that a rotation should have over the frozen layer, as a share of LoRA's."""
TESTS_SHARE = 0.4
"""The most of the budget that the tests may take."""
TESTS, KERNELS = "tests marked gpu", "kernels"
LEGEND = (
    "us is the median time of a call in microseconds, low and high are its quartiles. "
    "Kernels: GB/s counts each tensor that a call reads or writes once. Layers: a call is forward "
    "and backward, and rotations use the fused kernels only; peak is the memory of a call beyond "
    "weights and parameters; overhead is the difference to the frozen layer; graphs is the number "
    "of graphs that torch.compile made, one if it compiled the whole layer."
)
PACKAGES = ("goft-cli", "torch", "triton", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Plan:
    """The device, sizes and numbers of the measurements.

    Attributes:
        device: the device that is measured.
        sizes: number and width of the vectors that the kernels turn.
        calls: calls of a kernel per timing.
        tokens: batch size and length of the layer's input.
        width: width of the layer.
        rounds: most rounds of all cases.
        backend: backend of torch.compile.
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
    """A table of the report, and the function that returns its rows."""

    title: str
    rows: Callable[[], list[Record]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report; return 2 without a GPU, 1 if a test fails, else 0."""
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
        write(words.output, facts, tables, words.dry_run)  # now, because a later part may fail
    print(goal(tables, words.dry_run))
    print(f"written: {words.output}, {words.output.with_suffix('.json')}")
    return 0 if tables[TESTS][0]["note"] == "" else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", help="run tiny sizes on the CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time budget")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/gpu.md"))
    return parser.parse_args(arguments)


def parts(plan: Plan, budget: Budget) -> list[Part]:
    """Return all parts, the most important first, because there may not be time for all."""
    found = [Part(TESTS, partial(tests, budget))]
    for backend in ("", plan.backend):
        for base in layers.BASES:
            title = f"one layer, {base} weight, {'torch.compile' if backend else 'eager'}"
            found.append(Part(title, partial(layer_rows, plan, budget, base, backend)))
    found.insert(2, Part(KERNELS, partial(kernel_rows, plan, budget)))
    return found


def rows_of(part: Part) -> list[Record]:
    """Return the rows of a table, or a row that states the error."""
    try:
        return part.rows()
    except Exception as error:  # after one failure, every call of a GPU may fail
        return [{"case": part.title, "note": error_line(error)}]


def tests(budget: Budget) -> list[Record]:
    """Run the tests that need a GPU in a child process; count those that passed and failed."""
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
        output, ended = done.stdout.decode(), f"pytest ended with {done.returncode}"
        note = "" if done.returncode == 0 else ended
    except subprocess.TimeoutExpired as late:
        output, note = (late.stdout or b"").decode(), f"the rest is {LEFT_OUT}"
    if note:
        print(output)
    wrong = re.findall(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE)
    ends = Counter(re.findall(r"::\S+ (PASSED|FAILED|SKIPPED|ERROR)", output))
    counts: Record = {
        "passed": ends["PASSED"],
        "failed": ends["FAILED"] + ends["ERROR"],
        "skipped": ends["SKIPPED"],
    }
    return [counts | {"note": "; ".join([note, *wrong[:1]]) if note else ""}]


def kernel_rows(plan: Plan, budget: Budget) -> list[Record]:
    """Return the times of both passes of both rotations and of a copy, by size and dtype."""
    found: list[Record] = []
    sync = sync_of(plan.device)
    for rows, width in plan.sizes:
        for dtype in (torch.bfloat16, torch.float32):
            makers = kernel_makers(rows, width, dtype, plan.device, plan.calls)
            samples, failed = measure(makers, plan.rounds, budget, sync)
            good = rates(samples, rows * width * dtype.itemsize, plan.calls)
            case: Record = {"vectors": f"{rows} x {width}", "dtype": str(dtype)[6:]}
            found += [case | row for row in merge_rows(makers, good, failed)]
    return found


def layer_rows(plan: Plan, budget: Budget, base: str, backend: str) -> list[Record]:
    """Return time and memory of the layer with each adapter; rotations use the fused engine."""
    torch.compiler.reset()  # it compiles a function for a few cases only
    x = torch.randn(*plan.tokens, plan.width, dtype=torch.bfloat16, device=plan.device)
    found: dict[str, Record] = {}
    names = (layers.FROZEN, *layers.ADAPTERS)
    makers = {name: partial(layers.warm_step, name, base, x, backend, found) for name in names}
    with force_engine("fused"):  # raises an error where it is unsupported
        samples, failed = measure(makers, plan.rounds, budget, sync_of(plan.device))
    return merge_rows(names, layers.overheads(samples, found), failed)


def merge_rows(
    names: Iterable[str], good: Mapping[str, Record], failed: Mapping[str, str]
) -> list[Record]:
    """Return a row per name: its measurements, or the reason why there are none."""
    return [{"case": name} | good.get(name, {}) | {"note": failed.get(name, "")} for name in names]


def goal(tables: Mapping[str, Sequence[Record]], dry: bool) -> str:
    """Return a sentence on whether the rotations' overhead is at most `GOAL`."""
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
    """Return hardware and versions; called first, because a failed GPU no longer answers."""
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
    """Return the version of NVIDIA's driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "none"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.partition("\n")[0] or "unknown"


def write(
    target: Path, facts: Mapping[str, str], tables: Mapping[str, Sequence[Record]], dry: bool
) -> None:
    """Write the report so far, as Markdown and as JSON."""
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

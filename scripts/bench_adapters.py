"""Time and memory of a training step with each adapter, in one process and in turns.

python scripts/bench_adapters.py --shape deberta-v3-base --blocks 4 --batch 8 --length 64
python scripts/bench_adapters.py --shape llama2-7b --blocks 4 --batch 1 --length 256 \
    --only "frozen model" "lora r=16" goft qgoft

Prints a table of steps and one of forward passes before and after merging, and writes both as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benchmarks.memory import forget_peak, peak_in_child, resident_peak
from scripts.benchmarks.shapes import SHAPES, build
from scripts.benchmarks.timing import Samples, interleave, sync_of
from scripts.benchmarks.training import FROZEN, REFERENCE, VARIANTS, Candidate, candidate

MEMORY_STEPS = 3
console = Console()


@dataclass(frozen=True)
class Row:
    """One adapter's step: milliseconds (quartiles), bytes, parameters."""

    name: str
    low: float
    median: float
    high: float
    peak: int
    trainable: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    words = parser().parse_args(arguments)
    torch.set_num_threads(words.threads or torch.get_num_threads())
    if words.peak_of is not None:
        print(peak(words))
        return
    rows = measure_steps(words)
    console.print(step_table(rows))
    words.output.mkdir(parents=True, exist_ok=True)
    target = words.output / f"adapters-{words.shape}-{words.blocks}.json"
    settings = {key: str(value) for key, value in vars(words).items()}
    content = {"settings": settings, "steps": [asdict(row) for row in rows]}
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {target}")


def parser() -> argparse.ArgumentParser:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [FROZEN, *VARIANTS]
    parser.add_argument("--shape", choices=SHAPES, default="deberta-v3-base")
    parser.add_argument("--blocks", type=int, default=4, help="blocks that the model is cut to")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64, help="tokens per row")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, all by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--peak-of", choices=names, help=argparse.SUPPRESS)
    return parser


def candidates(words: argparse.Namespace, names: Sequence[str]) -> dict[str, Candidate]:
    """Build each named candidate on the same weights."""
    shape, device = SHAPES[words.shape], torch.device(words.device)
    base = build(shape, words.blocks, getattr(torch, words.dtype), device).requires_grad_(False)
    batch = {key: x.to(device) for key, x in shape.batch(words.batch, words.length).items()}
    return {name: candidate(base, name, shape, batch) for name in names}


def measure_steps(words: argparse.Namespace) -> list[Row]:
    """Time the steps of all candidates in turns, then the peak of each by itself."""
    found = candidates(words, words.only)
    steps = {name: one.step for name, one in found.items()}
    samples = interleave(steps, words.rounds, sync_of(torch.device(words.device)))
    sizes = {name: one.trainable for name, one in found.items()}
    del found, steps
    peaks = {name: peak_in_child([*sys.argv, "--peak-of", name]) for name in words.only}
    return [row_of(name, samples[name], peaks[name], sizes[name]) for name in words.only]


def row_of(name: str, samples: Samples, peak: int, trainable: int) -> Row:
    """Put what was measured of one candidate side by side."""
    low, median, high = (1e3 * s for s in (samples.low, samples.median, samples.high))
    return Row(name, low, median, high, peak, trainable)


def peak(words: argparse.Namespace) -> int:
    """Bytes that a few steps of one candidate take at most."""
    (one,) = candidates(words, [words.peak_of]).values()
    forget_peak()
    for _ in range(MEMORY_STEPS):
        one.step()
    on_gpu = torch.device(words.device).type == "cuda"
    return torch.cuda.max_memory_allocated() if on_gpu else resident_peak()


def step_table(rows: Sequence[Row]) -> Table:
    """Lay the steps out, with the ratio to LoRA and the overhead over the frozen model."""
    by_name: Mapping[str, Row] = {row.name: row for row in rows}
    reference, floor = by_name.get(REFERENCE), by_name.get(FROZEN)
    table = Table(title="training step")
    for heading in ("adapter", "parameters", "ms", "quartiles", "ratio", "overhead", "memory"):
        table.add_column(heading, justify="left" if heading == "adapter" else "right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.trainable:,}",
            f"{row.median:.1f}",
            f"{row.low:.1f}-{row.high:.1f}",
            f"{row.median / reference.median:.2f}" if reference else "",
            f"{100 * (row.median / floor.median - 1):+.0f}%" if floor else "",
            f"{(row.peak - floor.peak) / 2**20:+.0f} MB" if floor else f"{row.peak / 2**20:.0f} MB",
        )
    return table


if __name__ == "__main__":
    main()

"""Measure the time and memory of a training step with each adapter.

python scripts/bench_adapters.py --shape deberta-v3-base --blocks 4 --batch 8 --length 64
python scripts/bench_adapters.py --shape llama2-7b --blocks 4 --batch 1 --length 256 \
    --only "frozen model" "lora r=8" "lora r=16" goft qgoft
python scripts/bench_adapters.py --grid    # one layer by width, number of vectors and precision

Times the steps of all adapters in turns in one process, and measures the peak memory of each in a
process of its own. Prints tables of training steps, of the adapter alone on one layer, and of
forward passes before and after merging; writes all three as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benchmarks import grid
from scripts.benchmarks.authors import METHODS
from scripts.benchmarks.memory import forget_peak, peak_in_child, resident_peak
from scripts.benchmarks.shapes import SHAPES, build
from scripts.benchmarks.tables import Row, row_of, table_of
from scripts.benchmarks.timing import interleave, sync_of
from scripts.benchmarks.training import FROZEN, REFERENCE, SEPARABLE, VARIANTS, Workbench

MEMORY_STEPS = 3
LAYER_CALLS = 20
"""Timed calls of one layer per timed step: a call takes milliseconds, and its time varies more."""
MERGED = (REFERENCE, "goft", "qgoft")
"""Candidates whose forward pass is timed too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write them as JSON."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = parse(given)
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated")
    if words.threads:
        torch.set_num_threads(words.threads)
    if words.peak_of is not None:
        print(peak(words))
        return
    console = Console()
    if words.grid:
        points = list(track(grid.measure(words.widths, words.vectors), console=console))
        console.print(grid.table_of(points))
        write(words.output / "adapters-grid.json", grid.as_json(points), console)
        return
    steps = measure_steps(words, given)  # takes minutes at LLaMA's shape: printed at once
    console.print(table_of("training step", steps, words.reference, FROZEN))
    layers = measure_layers(words)
    console.print(table_of("the adapter alone, one layer", layers, words.reference, ""))
    forwards = measure_forwards(words)
    console.print(table_of("forward pass", forwards, "base model", "base model"))
    content = {
        "settings": {key: str(value) for key, value in vars(words).items()},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "steps": [asdict(row) for row in steps],
        "layers": [asdict(row) for row in layers],
        "forwards": [asdict(row) for row in forwards],
    }
    target = words.output / f"adapters-{words.shape}-{words.blocks}.json"
    write(target, json.dumps(content, indent=2) + "\n", console)


def write(target: Path, text: str, console: Console) -> None:
    """Write a file and print its path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    console.print(f"written: {target}", soft_wrap=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; fill `only` with the names of all candidates to measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [FROZEN, *VARIANTS, *METHODS]
    parser.add_argument("--shape", choices=SHAPES, default="deberta-v3-base")
    parser.add_argument("--blocks", type=int, default=4, help="blocks of the model to keep")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64, help="tokens per row")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--autocast", action="store_true", help="bfloat16 autocast, like bf16=true")
    parser.add_argument("--grid", action="store_true", help="time one layer by width and vectors")
    parser.add_argument("--widths", type=int, nargs="+", default=grid.WIDTHS)
    parser.add_argument("--vectors", type=int, nargs="+", default=grid.VECTORS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, all by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--forward-rounds", type=int, default=60, help="rounds of forward passes")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--authors", type=Path, help="folder of ArthurLeoM/peft-givens")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--peak-of", choices=names, help=argparse.SUPPRESS)
    words = parser.parse_args(arguments)
    words.only = words.only or [FROZEN, *VARIANTS, *(METHODS if words.authors else ())]
    if words.authors is None and set(words.only) & set(METHODS):
        parser.error(f"{', '.join(METHODS)} need --authors DIR")
    loras = (name for name in words.only if name.startswith("lora"))
    words.reference = REFERENCE if REFERENCE in words.only else next(loras, "")
    return words


def workbench(words: argparse.Namespace) -> Workbench:
    """Build the frozen model and its batch."""
    shape, device = SHAPES[words.shape], torch.device(words.device)
    base = build(shape, words.blocks, getattr(torch, words.dtype), device).requires_grad_(False)
    inputs = shape.batch(words.batch, words.length)
    batch = {key: value.to(device) for key, value in inputs.items()}
    return Workbench(base, shape, batch, words.authors, words.autocast)


def measure_steps(words: argparse.Namespace, given: Sequence[str]) -> list[Row]:
    """Time the steps of all candidates in turns, then measure the peak memory of each alone."""
    bench = workbench(words)
    found = {name: bench.candidate(name) for name in words.only}
    steps = {name: one.step for name, one in found.items()}
    samples = interleave(steps, words.rounds, sync_of(torch.device(words.device)))
    sizes = {name: one.trainable for name, one in found.items()}
    del bench, found, steps
    command = [str(Path(__file__).resolve()), *given]
    peaks = {name: peak_in_child([*command, "--peak-of", name]) for name in words.only}
    return [row_of(name, samples[name], sizes[name], peaks[name]) for name in words.only]


def measure_layers(words: argparse.Namespace) -> list[Row]:
    """Time forward and backward of adapters on one layer without its weight, in turns."""
    bench, tokens = workbench(words), words.batch * words.length
    cases = {name: bench.layer(name, tokens) for name in words.only if name in SEPARABLE}
    rounds = LAYER_CALLS * words.rounds
    samples = interleave(cases, rounds, sync_of(torch.device(words.device)))
    return [row_of(name, found) for name, found in samples.items()]


def measure_forwards(words: argparse.Namespace) -> list[Row]:
    """Time forward passes of the base model and of adapters, unmerged and merged, in turns."""
    bench = workbench(words)
    passes = {"base model": bench.forward(bench.base.eval())}
    for name in MERGED:
        passes |= bench.forwards(name) if name in words.only else {}
    samples = interleave(passes, words.forward_rounds, sync_of(torch.device(words.device)))
    return [row_of(name, found) for name, found in samples.items()]


def peak(words: argparse.Namespace) -> int:
    """Return the peak memory of a few steps of one candidate, in bytes."""
    one = workbench(words).candidate(words.peak_of)
    forget_peak()
    for _ in range(MEMORY_STEPS):
        one.step()
    on_gpu = torch.device(words.device).type == "cuda"
    return torch.cuda.max_memory_allocated() if on_gpu else resident_peak()


if __name__ == "__main__":
    main()

"""Time the bare rotation against its width and against the number of vectors, and merging.

    python scripts/bench_rotation.py --plot bench_rotation.png
    python scripts/bench_rotation.py --device cuda --dtype bfloat16 --tokens 16384 --width 4096
    python scripts/bench_rotation.py --merge

Run it on an idle machine. For each width, and for each number of vectors, all engines turn the
same vectors in interleaved rounds: forward alone, and forward with the gradients of the vectors and
of the rotation; strict rotations and quasi ones. A call shorter than `--least-ms` is repeated until
one timing lasts that long. Vectors that fit into a processor's cache are then found there by every
engine and by the copy alike.

Bandwidth counts each tensor once per pass, 2 x rows x width numbers forward and 3 x backward, what
a single pass over memory would move; its share is of a plain copy's bandwidth in the same round.

With `--merge` merging is timed instead: 128 layers of LLaMA2-7B (q, k, v, o of 32 blocks, 4096 x
4096), each with a rotation of its own, one after the other in one weight.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks import merging, turning, turning_plot
from benchmarks.machine import describe, device_named
from benchmarks.options import DTYPES, positive
from benchmarks.progress import progress
from benchmarks.report import cell, claim, console, empty, save
from benchmarks.rounds import Plan
from benchmarks.turning import Case, Setting
from rich.table import Table

from goft_cli.errors import GoftError

WIDTHS = (256, 512, 768, 1024, 2048, 3072, 4096, 8192, 11008, 16384)
TOKENS = tuple(4**power for power in range(9))
USAGE_ERROR = 2


def read(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--engines", nargs="*", default=[], help="all if not given")
    add("--widths", nargs="+", type=positive, default=WIDTHS, help="widths at --tokens vectors")
    add("--tokens", type=positive, default=512, help="vectors while the width varies")
    add("--counts", nargs="+", type=positive, default=TOKENS, help="vectors at --width")
    add("--width", type=positive, default=1024, help="width while the number of vectors varies")
    add("--max-mib", type=positive, default=4096, help="leave larger cases out")
    add("--dtype", choices=DTYPES, default="float32", help="dtype of the vectors")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=positive, help="CPU threads; torch's own choice if not given")
    add("--rounds", type=positive, default=11)
    add("--warmup", type=positive, default=1, help="rounds before them")
    add("--least-ms", type=positive, default=5, help="shortest timing")
    add("--seed", type=int, default=0)
    add("--merge", action="store_true", help="time merging instead")
    add("--merge-layers", type=positive, default=merging.LAYERS)
    add("--merge-width", type=positive, default=merging.WIDTH)
    add("--plot", type=Path, metavar="FILE", help="write a figure (PNG)")
    add("--out", type=Path, default=Path("bench_rotation.json"), help="written anew")
    return parser.parse_args(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print and write."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = read(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            claim(options.out)
            claim(options.plot)
            found = merge(options) if options.merge else sweep(options)
            write({"command": ["python", "scripts/bench_rotation.py", *words], **found}, options)
    except GoftError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def merge(options: argparse.Namespace) -> dict[str, Any]:
    """Time merging."""
    layers, width, device = options.merge_layers, options.merge_width, device_named(options.device)
    with progress("merging", layers + 1) as tick:
        found = merging.merge_all(layers, width, getattr(torch, options.dtype), device, tick)
    return {"merge": found}


def sweep(options: argparse.Namespace) -> dict[str, Any]:
    """Time both series of cases.

    Raises:
        GoftError: an engine does not exist, or no case is within the bound on memory.
    """
    plan = Plan(options.rounds, options.warmup, options.seed, device_named(options.device))
    dtype = getattr(torch, options.dtype)
    engines = turning.chosen(options.engines)
    setting = Setting(dtype, plan, engines, options.least_ms / 1000)
    series = {
        "widths": [Case(width, options.tokens) for width in sorted(set(options.widths))],
        "tokens": [Case(options.width, count) for count in sorted(set(options.counts))],
    }
    return {name: run(name, cases, setting, options.max_mib) for name, cases in series.items()}


def run(name: str, cases: list[Case], setting: Setting, max_mib: int) -> list[dict[str, Any]]:
    """Time the cases that are within the bound on memory.

    Raises:
        GoftError: none is.
    """
    fitting = [case for case in cases if case.fits(max_mib, setting.dtype)]
    if not fitting:
        raise GoftError(f"--max-mib {max_mib}: no case of the {name} fits; raise it")
    records: list[dict[str, Any]] = []
    with progress(name, len(fitting)) as tick:
        for case in fitting:
            tick(f"{case.tokens} x {case.width}")
            records += turning.measure(case, setting)
    return records


def write(found: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the file, draw the figure, print the tables."""
    about = {
        "arguments": vars(options),
        "machine": describe(device_named(options.device)),
    }
    save({**about, **found}, options.out)
    screen = console()
    if options.merge:
        merged = found["merge"]
        screen.print(
            f"one layer {cell(merged['ms'], 1)} ms, {merged['layers']} layers of "
            f"{merged['width']} x {merged['width']} {merged['total_seconds']:.1f} s",
            highlight=False,
        )
        return
    for name in ("widths", "tokens"):
        screen.print(table(found[name], f"{name}: {options.dtype} on {options.device}"))
    if options.plot:
        subtitle = f"{options.dtype} on {options.device}"
        turning_plot.draw(found["widths"], found["tokens"], subtitle, options.plot)
    screen.print(f"written to {options.out}", highlight=False)


def table(records: list[dict[str, Any]], title: str) -> Table:
    """Lay out one series."""
    columns = [
        "engine",
        "kind",
        "pass",
        "width",
        "vectors",
        "us",
        "ns per vector",
        "GB/s",
        "of copy",
    ]
    found = empty(columns, title)
    for entry in records:
        found.add_row(
            entry["engine"],
            entry["kind"] or "",
            entry["pass"],
            f"{entry['width']:,}",
            f"{entry['tokens']:,}",
            cell(entry["us"], 1),
            f"{entry['ns_per_token']['median']:.1f}",
            f"{entry['gb_per_s']['median']:.1f}",
            f"{entry['share_of_copy']['median']:.1%}",
        )
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Time the rotation alone by engine, width and number of vectors, and time merging.

python scripts/bench_rotation.py --dtype bfloat16 --output outputs/benchmarks
python scripts/bench_rotation.py --llama

Prints tables, writes them as rotation.json, and plots the rotation's times as rotation.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.rotation import ENGINES
from goft_cli.tuner.config import Method
from scripts.benchmarks import merging
from scripts.benchmarks.machine import machine, name_of
from scripts.benchmarks.memory import peak_in_child
from scripts.benchmarks.rotation_plot import draw
from scripts.benchmarks.rotation_tables import merge_table, rotation_table
from scripts.benchmarks.rotations import AUTO, KINDS, Setting, Timed, time_rotations

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MERGES: dict[str, tuple[Method, str]] = {
    f"{method} {dtype}": (method, dtype) for method in get_args(Method) for dtype in DTYPES
}

MIN_COLUMNS = 140
"""Least width of the tables in characters, whatever the width of the screen."""


@dataclass(frozen=True)
class Sizes:
    """Widths and numbers of vectors to measure, and the merges.

    Attributes:
        grid: widths at which all engines apply both kinds of rotation.
        grid_counts: numbers of vectors at each width of `grid`.
        widths: widths, some of them odd, at which the chosen engine turns `count` vectors.
        count: number of vectors at each of `widths`. More would exceed the 32 MB of freed memory
            that the C library keeps, and the time would include that of clearing new memory.
        counts: numbers of vectors that all engines turn at `width`.
        width: the width of those vectors.
        merge: input and output features of the layer that is merged.
        merges: names in MERGES of the merges to time.
    """

    grid: Sequence[int] = (96, 384, 768, 1024, 3072, 4096)
    grid_counts: Sequence[int] = (1, 16, 64, 512)
    widths: Sequence[int] = (256, 512, 999, 1024, 2048, 3001, 4096, 8192, 11007, 11008, 16384)
    count: int = 256
    counts: Sequence[int] = tuple(4**power for power in range(9))
    width: int = 1024
    merge: int = 4096
    merges: Sequence[str] = tuple(MERGES)


QUICK = Sizes((32, 35, 96), (1, 20), (32, 35, 64, 128), 20, (1, 20, 40), 96, 32, ("goft float32",))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the JSON file and the plot."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = parse(given)
    if words.threads:
        torch.set_num_threads(words.threads)
    device, sizes = torch.device(words.device), QUICK if words.quick else Sizes()
    if words.memory_of is not None:
        print(merging.memory_of_merge(layer_of(words.memory_of, sizes, device), device))
        return
    words.output.mkdir(parents=True, exist_ok=True)
    found = measure_rotations(Setting(device, DTYPES[words.dtype], words.rounds), sizes)
    merges = measure_merges(words, given, sizes)
    show(sizes, found, merges)
    content = {
        "settings": {key: str(value) for key, value in vars(words).items()},
        "machine": machine(),
        **{name: [asdict(one) for one in timed] for name, timed in found.items()},
        "merges": merges,
    }
    target = words.output / "rotation.json"
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    title = f"R$^T$x in {words.dtype} on {name_of(device)}, medians of {words.rounds}"
    draw(found["widths"], found["counts"], title, target.with_suffix(".png"))
    print(f"written: {target}, {target.with_suffix('.png')}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="dtype of the vectors")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, all by default")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script out")
    parser.add_argument("--llama", action="store_true", help="also merge the layers of LLaMA2-7B")
    parser.add_argument("--memory-of", choices=MERGES, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure_rotations(setting: Setting, sizes: Sizes) -> dict[str, list[Timed]]:
    """Time all engines on the grid, the chosen one by width, and all by number of vectors."""
    everyone = (AUTO, *ENGINES)
    return {
        "engines": [
            one
            for dim, tokens in product(sizes.grid, sizes.grid_counts)
            for one in time_rotations(setting, dim, tokens, ENGINES, KINDS)
        ],
        "widths": [
            one
            for dim in sizes.widths
            for one in time_rotations(setting, dim, sizes.count, [AUTO], KINDS[:1])
        ],
        "counts": [
            one
            for tokens in sizes.counts
            for one in time_rotations(setting, sizes.width, tokens, everyone, KINDS[:1])
        ],
    }


def measure_merges(
    words: argparse.Namespace, given: Sequence[str], sizes: Sizes
) -> dict[str, dict[str, float]]:
    """Time each merge, with --llama also a whole model's; measure memory in a child process."""
    device, command = torch.device(words.device), [str(Path(__file__).resolve()), *given]
    found: dict[str, dict[str, float]] = {}
    for name in sizes.merges:
        layer = layer_of(name, sizes, device)
        samples = merging.time_merges(layer, words.rounds, device)
        found[name] = {"low": samples.low, "median": samples.median, "high": samples.high}
        if words.llama:
            found[name]["llama2-7b"] = merging.time_model(layer, device)
        found[name]["bytes"] = peak_in_child([*command, "--memory-of", name])
    return found


def layer_of(name: str, sizes: Sizes, device: torch.device) -> merging.GoftLayer:
    """Return the layer of a merge, by the name in `MERGES`."""
    method, dtype = MERGES[name]
    return merging.random_layer(method, sizes.merge, DTYPES[dtype], device)


def show(sizes: Sizes, found: dict[str, list[Timed]], merges: dict[str, dict[str, float]]) -> None:
    """Print the tables of rotations and the table of merges."""
    console = Console(width=max(MIN_COLUMNS, Console().width))
    for title, timed in (
        ("all engines", found["engines"]),
        (f"{sizes.count:,} vectors", found["widths"]),
        (f"vectors of {sizes.width:,}", found["counts"]),
    ):
        console.print(rotation_table(title, timed))
    console.print(merge_table(sizes.merge, merges))


if __name__ == "__main__":
    main()

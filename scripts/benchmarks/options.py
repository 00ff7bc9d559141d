"""The command line of `scripts/bench_adapters.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.machine import device_named
from benchmarks.memory import FLAG
from benchmarks.methods import METHODS, PROBE, Attach
from benchmarks.shapes import SHAPES, Shape, Size
from goft_cli.errors import GoftError
from goft_cli.suggest import did_you_mean

DTYPES = ("float32", "bfloat16", "float16")
ALL = "all"


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    methods: str
    shape: str
    layers: int
    width: int | None
    batch: int
    length: int
    tokens: int | None
    dtype: str
    device: str
    threads: int | None
    rounds: int
    warmup: int
    seed: int
    input_grads: bool
    memory: bool
    memory_repeats: int
    memory_of: str | None
    authors: Path | None
    out: Path

    @property
    def size(self) -> Size:
        """How much of the model, and how much data."""
        tokens = self.tokens or self.batch * self.length
        return Size(self.layers, self.width, self.batch, self.length, tokens)

    @property
    def chosen_shape(self) -> Shape:
        """The model and what of it is adapted."""
        return SHAPES[self.shape]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the frozen weights."""
        return getattr(torch, self.dtype)

    @property
    def torch_device(self) -> torch.device:
        """Where everything runs.

        Raises:
            GoftError: cuda without a GPU.
        """
        return device_named(self.device)

    def names(self, others: dict[str, Attach]) -> list[str]:
        """Return the methods asked for, then those of the authors.

        Raises:
            GoftError: a method that does not exist, or that the shape has no use for.
        """
        has_head = bool(self.chosen_shape.probe)
        possible = [name for name in METHODS if has_head or name != PROBE]
        if self.methods == ALL:
            return [*possible, *others]
        names = list(dict.fromkeys(self.methods.split(",")))
        for name in names:
            if name == PROBE and not has_head:
                raise GoftError(
                    f"--methods {PROBE}: --shape {self.shape} has no head to train, expected a "
                    f"whole model; leave {PROBE} out or choose another shape"
                )
            if name not in possible and name not in others:
                hint = did_you_mean(name, [*possible, *others])
                raise GoftError(f"--methods {name}: there is no such method; {hint}")
        return [*names, *(name for name in others if name not in names)]


def read(words: Sequence[str], description: str) -> Options:
    """Parse the command line; argparse refuses what it cannot read and exits with code 2."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--methods", default=ALL, help="a,b,c out of " + ", ".join(METHODS))
    add("--shape", choices=sorted(SHAPES), default="deberta-v3-base", help="model")
    add("--layers", type=positive, default=4, help="blocks of the model")
    add("--width", type=positive, help="another hidden size than the published one")
    add("--batch", type=positive, default=8)
    add("--length", type=positive, default=64, help="words; an image always has 197 tokens")
    add("--tokens", type=positive, help="rows of --shape linear; batch x length if not given")
    add("--dtype", choices=DTYPES, default="float32", help="dtype of the frozen weights")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=positive, help="CPU threads; torch's own choice if not given")
    add("--rounds", type=positive, default=20, help="timed steps of each method")
    add("--warmup", type=positive, default=3, help="rounds before them")
    add("--seed", type=int, default=0)
    add("--input-grads", action="store_true", help="let gradients reach the embedding always")
    add("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    add("--memory-repeats", type=positive, default=3, help="processes per method (CPU)")
    add("--authors", type=Path, metavar="DIR", help="checkouts of peft-givens to measure too")
    add("--out", type=Path, default=Path("bench_adapters.json"), help="written anew")
    add(FLAG, help=argparse.SUPPRESS)
    return Options(**vars(parser.parse_args(words)))


def positive(word: str) -> int:
    """Read a whole number from 1 up.

    Raises:
        ArgumentTypeError: anything else.
    """
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a whole number from 1 up")
    return int(word)

"""Time the rotation R^T x alone: all engines in turns on the same random vectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from goft_cli.rotation import ENGINES, force_engine, rotate_transposed
from scripts.benchmarks.timing import Case, Samples, interleave, sync_of

AUTO = "auto"
REFERENCE = "staged"
KINDS = ("strict", "quasi")
FORWARD, BOTH = "forward", "forward+backward"


@dataclass(frozen=True)
class Setting:
    """The settings that all measurements of a run share."""

    device: torch.device
    dtype: torch.dtype
    """Dtype of the vectors; the rotation is float32."""
    rounds: int
    """Timed calls of each case."""


@dataclass(frozen=True)
class Timed:
    """Quartiles and median of the seconds of one call.

    Attributes:
        engine: a name in `ENGINES`, or "auto" for the automatic choice.
        kind: "strict" or "quasi".
        passes: "forward" without gradients, or "forward+backward" with those of the vectors and of
            the rotation.
        dim: width of a vector.
        tokens: number of vectors.
        low: first quartile.
        median: median.
        high: third quartile.
        ratio: the median over the staged engine's in the same rounds; None if it was not timed.
    """

    engine: str
    kind: str
    passes: str
    dim: int
    tokens: int
    low: float
    median: float
    high: float
    ratio: float | None


def time_rotations(
    setting: Setting, dim: int, tokens: int, engines: Iterable[str], kinds: Sequence[str] = KINDS
) -> list[Timed]:
    """Time the engines in turns; leave out those that do not support such vectors."""
    keys = list(product(kinds, (FORWARD, BOTH), _supporting(engines, dim, setting)))
    x, grad = (torch.randn(tokens, dim, dtype=setting.dtype, device=setting.device) for _ in "12")
    rotations = {kind: random_rotation(kind, dim, setting.device) for kind in kinds}
    cases = {
        " ".join(key): _case(key[2], x, rotations[key[0]], grad if key[1] == BOTH else None)
        for key in keys
    }
    found = interleave(cases, setting.rounds, sync_of(setting.device))
    return [_timed(key, found, dim, tokens) for key in keys]


def random_rotation(kind: str, dim: int, device: torch.device) -> Tensor:
    """Return uniform angles (dim-1,) of the full circle, or blocks (dim-1, 2, 2) near identity."""
    if kind == "strict":
        return (2 * torch.rand(dim - 1, device=device) - 1) * math.pi
    return torch.eye(2, device=device) + torch.randn(dim - 1, 2, 2, device=device) / 10


def _supporting(engines: Iterable[str], dim: int, setting: Setting) -> list[str]:
    wanted = (dim, setting.dtype, setting.device)
    return [name for name in engines if name == AUTO or ENGINES[name].supports(*wanted)]


def _case(engine: str, x: Tensor, rotation: Tensor, grad: Tensor | None) -> Case:
    """Return a function that rotates x, with a backward pass if the result's gradient is given."""
    below, turns = (tensor.detach().requires_grad_(grad is not None) for tensor in (x, rotation))

    def run() -> None:
        with force_engine(engine), torch.set_grad_enabled(grad is not None):
            turned = rotate_transposed(below, turns)
        if grad is not None:
            torch.autograd.grad(turned, (below, turns), grad)

    return run


def _timed(key: tuple[str, str, str], found: dict[str, Samples], dim: int, tokens: int) -> Timed:
    kind, passes, engine = key
    mine, reference = found[" ".join(key)], found.get(f"{kind} {passes} {REFERENCE}")
    ratio = None if reference is None else mine.median / reference.median
    return Timed(engine, kind, passes, dim, tokens, mine.low, mine.median, mine.high, ratio)

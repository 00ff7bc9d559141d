"""The bare rotation R^T x of random vectors: every engine in turns on the same ones."""

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
    """What all measurements of a run have in common."""

    device: torch.device
    dtype: torch.dtype
    """Of the vectors; the rotation is float32."""
    rounds: int
    """Calls of each case that are timed."""


@dataclass(frozen=True)
class Timed:
    """Seconds that one call takes, quartiles and median.

    Attributes:
        engine: a name in `ENGINES`, or "auto" for the one that is chosen.
        kind: "strict" or "quasi".
        passes: "forward" without gradients, or "forward+backward" with those of the vectors and of
            the rotation.
        dim: width of a vector.
        tokens: number of vectors.
        low: first quartile.
        median: median.
        high: third quartile.
        ratio: the median over that of the staged engine in the same rounds, None without it.
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
    """Time the engines against each other; those that cannot turn such vectors are left out."""
    keys = list(product(kinds, (FORWARD, BOTH), _able(engines, dim, setting)))
    x, grad = (torch.randn(tokens, dim, dtype=setting.dtype, device=setting.device) for _ in "12")
    rotations = {kind: random_rotation(kind, dim, setting.device) for kind in kinds}
    cases = {
        " ".join(key): _case(key[2], x, rotations[key[0]], grad if key[1] == BOTH else None)
        for key in keys
    }
    found = interleave(cases, setting.rounds, sync_of(setting.device))
    return [_timed(key, found, dim, tokens) for key in keys]


def random_rotation(kind: str, dim: int, device: torch.device) -> Tensor:
    """Angles (dim-1,) all round the circle, or blocks (dim-1, 2, 2) near the identity."""
    if kind == "strict":
        return (2 * torch.rand(dim - 1, device=device) - 1) * math.pi
    return torch.eye(2, device=device) + torch.randn(dim - 1, 2, 2, device=device) / 10


def _able(engines: Iterable[str], dim: int, setting: Setting) -> list[str]:
    wanted = (dim, setting.dtype, setting.device)
    return [name for name in engines if name == AUTO or ENGINES[name].supports(*wanted)]


def _case(engine: str, x: Tensor, rotation: Tensor, grad: Tensor | None) -> Case:
    """One call without gradients, or one with them if a gradient of the result is given."""
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

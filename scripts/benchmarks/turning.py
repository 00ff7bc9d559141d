"""The bare rotation: time of R^T x, alone and with its gradients, engine beside engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from benchmarks.rounds import Action, Plan, Tick, clock, interleave, silent
from benchmarks.summary import paired, spread
from goft_cli.errors import GoftError
from goft_cli.rotation import ENGINES, force_engine, rotate_transposed
from goft_cli.suggest import did_you_mean

KINDS = ("strict", "quasi")
PASSES = ("forward", "forward+backward")
COPY = "copy"
# Rows x width numbers read or written: x and y; then the gradient of y, x or y, the gradient of x.
MOVED = {COPY: 2, "forward": 2, "forward+backward": 2 + 3}
LIVE = 8
"""Tensors of x's size that a case may hold at once, for the bound on memory."""


@dataclass(frozen=True)
class Case:
    """How many vectors of which width."""

    width: int
    tokens: int

    def bytes_moved(self, what: str, dtype: torch.dtype) -> int:
        """Return what one call must read and write, were each tensor touched once per pass."""
        return MOVED[what] * self.width * self.tokens * dtype.itemsize

    def fits(self, mebibytes: int, dtype: torch.dtype) -> bool:
        """Tell whether the case stays within a bound on memory."""
        return LIVE * self.width * self.tokens * dtype.itemsize <= mebibytes * 2**20


@dataclass(frozen=True)
class Setting:
    """What all cases have in common."""

    dtype: torch.dtype
    plan: Plan
    engines: tuple[str, ...]
    least_seconds: float
    """Calls are repeated until one timing lasts this long."""


def measure(case: Case, setting: Setting, tick: Tick = silent) -> list[dict[str, object]]:
    """Time every engine, kind and pass of one case, interleaved, a plain copy among them.

    Returns:
        One record each: seconds per call of every round, microseconds, nanoseconds per token,
        bandwidth in GB/s and that as a share of the copy's of the same round.
    """
    torch.manual_seed(setting.plan.seed)
    actions = actions_of(case, setting)
    calls = {key: calls_needed(action, setting) for key, action in actions.items()}
    repeated = {" ".join(key): repeat(action, calls[key]) for key, action in actions.items()}
    timed = interleave(repeated, setting.plan, tick)
    seconds = {key: [t / calls[key] for t in timed[" ".join(key)]] for key in actions}
    return [record(key, case, setting, seconds, calls[key]) for key in actions]


Key = tuple[str, ...]


def actions_of(case: Case, setting: Setting) -> dict[Key, Action]:
    """Return (copy,) and (engine, kind, pass) for every engine that supports the case."""
    device = setting.plan.device
    x, grad = (
        torch.randn(case.tokens, case.width, dtype=setting.dtype, device=device) for _ in range(2)
    )
    target = torch.empty_like(x)
    actions: dict[Key, Action] = {(COPY,): lambda: target.copy_(x)}
    for kind, engine in product(KINDS, setting.engines):
        rotation = random_rotation(kind, case.width, device)
        if supports(engine, x, rotation):
            actions[engine, kind, PASSES[0]] = forward(engine, x, rotation)
            actions[engine, kind, PASSES[1]] = both(engine, x, rotation, grad)
    return actions


def random_rotation(kind: str, width: int, device: torch.device) -> Tensor:
    """Return angles (width-1,) of about half a radian, or blocks (width-1, 2, 2) near identity."""
    if kind == "strict":
        return torch.randn(width - 1, device=device) / 2
    return torch.eye(2, device=device) + torch.randn(width - 1, 2, 2, device=device) / 10


def supports(engine: str, x: Tensor, rotation: Tensor) -> bool:
    """Tell whether an engine can turn these vectors."""
    try:
        forward(engine, x, rotation)()
    except ValueError:
        return False
    return True


def forward(engine: str, x: Tensor, rotation: Tensor) -> Action:
    """Return R^T x without gradients."""

    def run() -> None:
        with torch.no_grad(), force_engine(engine):
            rotate_transposed(x, rotation)

    return run


def both(engine: str, x: Tensor, rotation: Tensor, grad: Tensor) -> Action:
    """Return R^T x and the gradients of x and of the rotation."""
    x, rotation = (t.detach().requires_grad_() for t in (x, rotation))

    def run() -> None:
        with force_engine(engine):
            torch.autograd.grad(rotate_transposed(x, rotation), (x, rotation), grad)

    return run


def calls_needed(action: Action, setting: Setting) -> int:
    """Return how often to call so that a timing is long enough for the clock."""
    device = setting.plan.device
    clock(action, device)
    once = max(clock(action, device), 1e-9)
    return max(1, math.ceil(setting.least_seconds / once))


def repeat(action: Action, calls: int) -> Callable[[], None]:
    """Return an action that calls several times in a row."""

    def run() -> None:
        for _ in range(calls):
            action()

    return run


def record(
    key: Key, case: Case, setting: Setting, seconds: dict[Key, list[float]], calls: int
) -> dict[str, object]:
    """Return one line of the result."""
    what, mine, copy = key[-1], seconds[key], seconds[(COPY,)]
    moved = case.bytes_moved(what, setting.dtype)
    bandwidth = [moved / t / 1e9 for t in mine]
    copied = [case.bytes_moved(COPY, setting.dtype) / t / 1e9 for t in copy]
    return {
        "width": case.width,
        "tokens": case.tokens,
        "engine": key[0],
        "kind": key[1] if len(key) > 1 else None,
        "pass": what,
        "calls_per_timing": calls,
        "seconds": mine,
        "us": spread([1e6 * t for t in mine]).as_dict(),
        "ns_per_token": spread([1e9 * t / case.tokens for t in mine]).as_dict(),
        "gb_per_s": spread(bandwidth).as_dict(),
        "share_of_copy": paired(bandwidth, copied).as_dict(),
    }


def chosen(engines: Sequence[str]) -> tuple[str, ...]:
    """Return the engines asked for, all if none.

    Raises:
        GoftError: one does not exist.
    """
    for name in engines:
        if name not in ENGINES:
            raise GoftError(
                f"--engines {name}: there is no such engine; {did_you_mean(name, ENGINES)}"
            )
    return tuple(engines or ENGINES)

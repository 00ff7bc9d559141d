"""The choice of an engine. All engines compute the same results; they differ in cost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from goft_cli.rotation import blocked, compiled, fused, staged

VARIABLE = "GOFT_ENGINE"
"""Environment variable that forces one engine. If unset, empty or "auto", the best one is used."""


class EngineError(ValueError):
    """The engine is unknown or cannot turn the vectors; `remedy` says what to set."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


class Engine(Protocol):
    """Functions that a module of this package needs to be an engine; vectors are (..., d)."""

    def supports(self, dim: int, dtype: torch.dtype, device: torch.device) -> bool:
        """Whether it can turn such vectors at all."""
        ...

    def prepare(self, rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Tensors that depend only on the rotation, for vectors of dtype."""
        ...

    def synthesis(self, x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
        """R^T x."""
        ...

    def analysis(self, x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
        """R x."""
        ...

    def pullback(
        self, x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Gradients of x and of the rotation through R^T x, the same bits for the same inputs.

        grad (..., d) is the gradient of R^T x. Returns the gradient of x (..., d) in x.dtype, or
        None if not needed, and that of the rotation (d-1,) or (d-1, 2, 2) in float32 or wider.
        """
        ...


ENGINES: dict[str, Engine] = {
    "staged": staged,
    "blocked": blocked,
    "compiled": compiled,
    "fused": fused,
}

_forced = os.environ.get(VARIABLE) or "auto"


@contextmanager
def force_engine(name: str) -> Iterator[None]:
    """Use one engine, or "auto", for all rotations inside the block, whatever the environment says.

    Raises:
        EngineError: there is no engine of that name.
    """
    global _forced
    before, _forced = _forced, _checked(name)
    try:
        yield
    finally:
        _forced = before


def forced_engine() -> str:
    """The name that `force_engine` or the environment sets; "auto" if neither does.

    Raises:
        EngineError: there is no engine of that name.
    """
    return _checked(_forced)


def choose_engine(x: Tensor) -> str:
    """The name of the engine for vectors x (..., d).

    `scripts/bench_rotation.py` measures them: on a CPU compiled is the fastest for any number of
    vectors. Blocked is faster than staged, including the time to make its matrices, and its lead
    grows with the number of vectors.

    Raises:
        EngineError: an engine is forced that cannot turn such vectors.
    """
    if _forced == "auto":
        return _best(x)
    name = forced_engine()
    if not ENGINES[name].supports(x.shape[-1], x.dtype, x.device):
        raise EngineError(
            f"engine {name} cannot turn vectors of {x.shape[-1]} in {x.dtype} on {x.device.type}",
            f"set {VARIABLE}=auto",
        )
    return name


def _best(x: Tensor) -> str:
    size = x.shape[-1], x.dtype, x.device
    # On a CPU the fused kernels run for tests only, interpreted.
    if x.is_cuda and fused.supports(*size):
        return "fused"
    # The loops read the memory of x; a fake tensor, for example, has none.
    if type(x) is Tensor and compiled.supports(*size):
        return "compiled"
    return "blocked"


def _checked(name: str) -> str:
    if name not in ("auto", *ENGINES):
        raise EngineError(
            f"{VARIABLE}={name} is unknown", f"choose one of auto, {', '.join(ENGINES)}"
        )
    return name

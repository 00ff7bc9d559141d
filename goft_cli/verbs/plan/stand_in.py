"""A rotation engine for tensors without data: it makes what the real ones make, and turns nothing.

Operation for operation, the blocked engine would be traced tile by tile: minutes for LLaMA2-7B.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from goft_cli.rotation import ENGINES, force_engine
from goft_cli.rotation.engines import Engine

NAME = "stand-in"


@contextmanager
def allocating_only() -> Iterator[None]:
    """Let rotations inside the block take the memory that they take in training, and no time."""
    ENGINES[NAME] = cast("Engine", sys.modules[__name__])
    try:
        with force_engine(NAME):
            yield
    finally:
        del ENGINES[NAME]


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Every width, floating point type and device."""
    return True


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """A cosine and a sine for each angle, or the four entries of each block, in float32."""
    entries = 4 if rotation.dim() == 3 or rotation.device.type == "cuda" else 2
    return (rotation.new_empty(entries, len(rotation) + 1, dtype=torch.float32),)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """Vectors as R^T x."""
    return _like(x)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """Vectors as R x."""
    return _like(x)


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients in the shapes of `engines.Engine.pullback`."""
    read = x.contiguous(), grad.contiguous()
    turns = torch.empty_like(rotation, dtype=torch.float32)
    return (_like(read[0]) if needs_x else None), turns


def _like(x: Tensor) -> Tensor:
    """A new tensor, beside a contiguous copy where x is not."""
    return torch.empty_like(x.contiguous())

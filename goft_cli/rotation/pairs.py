"""From trainable parameters to the four coefficients of each pair's 2x2 block."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Angle = Literal["tanh", "direct"]
"""How a strict parameter p becomes an angle: pi * tanh(p), or p itself."""


class Pairs(NamedTuple):
    """Coefficients (d-1,) of the blocks [[a1, b1], [a2, b2]], one entry per pair."""

    a1: Tensor
    b1: Tensor
    a2: Tensor
    b2: Tensor

    def to(self, dtype: torch.dtype) -> Pairs:
        """The same coefficients rounded to dtype."""
        return Pairs(*(coefficient.to(dtype) for coefficient in self))


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any tensor is float64, else float32: what coefficients are computed in."""
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if double else torch.float32


def angles_from(parameter: Tensor, angle: Angle = "tanh") -> Tensor:
    """Angles in radians from the trainable tensor of a strict rotation.

    Args:
        parameter: (d-1,) trainable values, zero for no rotation.
        angle: "tanh" for pi * tanh(parameter), as in the authors' code, for which the published
            learning rates were tuned; "direct" for the parameter itself.

    Returns:
        (d-1,) in float32, or float64 for a float64 parameter.

    Raises:
        ValueError: unknown angle.
    """
    wide = parameter.to(compute_dtype(parameter))
    if angle == "tanh":
        return math.pi * torch.tanh(wide)
    if angle == "direct":
        return wide
    raise ValueError(f"angle={angle!r} is unknown; choose one of {', '.join(get_args(Angle))}")


def quasi_penalty(blocks: Tensor) -> Tensor:
    """How far the columns of the blocks are from orthogonal: sum of (a1*b1 + a2*b2)^2.

    Args:
        blocks: (d-1, 2, 2), each [[a1, b1], [a2, b2]].

    Returns:
        () in float32, or float64 for float64 blocks; 0 for a strict rotation.

    The regularizer of qGOFT in arXiv:2404.04316, before its weight lambda.
    """
    wide = blocks.to(compute_dtype(blocks))
    first, second = wide.unbind(-1)
    return (first * second).sum(dim=-1).square().sum()


def pairs_from(rotation: Tensor, dtype: torch.dtype) -> Pairs:
    """Coefficients of strict angles (d-1,) or quasi blocks (d-1, 2, 2), computed in dtype.

    Raises:
        ValueError: the tensor has neither shape.
    """
    wide = rotation.to(dtype)
    if rotation.dim() == 1:
        cos, sin = wide.cos(), wide.sin()
        return Pairs(cos, -sin, sin, cos)
    if rotation.dim() == 3 and rotation.shape[1:] == (2, 2):
        return Pairs(*wide.reshape(-1, 4).unbind(-1))
    raise ValueError(
        f"rotation: found shape {tuple(rotation.shape)}, expected (d-1,) angles or (d-1, 2, 2) "
        "blocks; reshape it"
    )

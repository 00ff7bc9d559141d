"""The pairs of coordinates at each stage for any width, and the parameters of a rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Angle = Literal["tanh", "direct"]
"""How a strict parameter p becomes an angle: pi * tanh(p), or p itself."""


@dataclass(frozen=True)
class Stage:
    """Pairs (2 * stride * k, 2 * stride * k + stride) for k = 0 .. pairs - 1."""

    stride: int
    """Distance between the two coordinates of a pair: 1, 2, 4, ..."""
    pairs: int
    """Number of pairs, at least 1."""
    offset: int
    """Index of the first pair's parameter in the flat (d-1, ...) tensor."""

    @property
    def span(self) -> slice:
        """The slice of this stage's parameters in the flat (d-1, ...) tensor."""
        return slice(self.offset, self.offset + self.pairs)


def schedule(dim: int) -> tuple[Stage, ...]:
    """Stages from fine to coarse; their pairs add up to dim - 1.

    Args:
        dim: number of coordinates, at least 1; it need not be a power of two. With an odd number of
            live coordinates the last one passes a stage unchanged.

    Returns:
        ceil(log2(dim)) stages; none for dim = 1.

    Raises:
        ValueError: dim < 1.

    Not cached: torch.compile warns of caches, and building it takes microseconds.
    The order is that of the authors' adapters ("parallel" Givens rotations), so they can be loaded.
    """
    if dim < 1:
        raise ValueError(
            f"schedule: dim={dim}, but a rotation needs at least one coordinate; "
            "leave empty layers out"
        )
    stages: list[Stage] = []
    stride, offset, live = 1, 0, dim
    while live > 1:
        stages.append(Stage(stride, live // 2, offset))
        offset += live // 2
        live -= live // 2
        stride *= 2
    return tuple(stages)


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that blocks are computed in: float64 if any tensor is float64, else float32."""
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

    The regularizer of qGOFT in arXiv:2404.04316, without its weight lambda.
    """
    wide = blocks.to(compute_dtype(blocks))
    first, second = wide.unbind(-1)
    product = (first * second).sum(dim=-1)
    return product.dot(product)


def blocks_from(rotation: Tensor, dtype: torch.dtype) -> Tensor:
    """Blocks (d-1, 2, 2), each [[a1, b1], [a2, b2]], of strict angles or quasi blocks."""
    wide = rotation.to(dtype)
    if rotation.dim() == 3:
        return wide
    cos, sin = wide.cos(), wide.sin()
    return torch.stack((cos, -sin, sin, cos), dim=-1).view(-1, 2, 2)


def rotation_gradient(rotation: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of angles (per radian) or blocks, from that of the blocks (d-1, 2, 2)."""
    if rotation.dim() == 3:
        return gradient
    angles = rotation.to(gradient.dtype)
    a1, b1, a2, b2 = gradient.view(-1, 4).unbind(-1)
    return angles.cos() * (a2 - b1) - angles.sin() * (a1 + b2)


def polar_parts(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Angle, larger and smaller singular value, and axis of blocks (p, 2, 2), each (p,).

    A block is q times the rotation by `angle` plus r times the reflection [[cos, sin], [sin, -cos]]
    of `axis`. Its singular values are q + r and q - r; the second has the sign of the block's
    determinant. Computed in float64 if the device has it.
    """
    wide = blocks if blocks.device.type == "mps" else blocks.double()
    a1, b1, a2, b2 = wide.reshape(-1, 4).unbind(-1)
    even, odd = (a1 + b2) / 2, (a2 - b1) / 2
    along, across = (a1 - b2) / 2, (a2 + b1) / 2
    turning, reflecting = torch.hypot(even, odd), torch.hypot(along, across)
    angle, axis = torch.atan2(odd, even), torch.atan2(across, along)
    return angle, turning + reflecting, turning - reflecting, axis


def fraction_of(rotation: Tensor, strength: float) -> Tensor:
    """The rotation whose pairs each go a fraction of the way from the identity.

    Args:
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2) of positive determinant.
        strength: 0 for the identity, 1 for `rotation` itself up to rounding.

    Returns:
        The angles times the strength; or blocks: of a block with the polar decomposition Q P (Q a
        rotation by phi, P symmetric and positive), the rotation by strength * phi times P^strength.
        In float32, or float64 for a float64 rotation.
    """
    dtype = compute_dtype(rotation)
    if rotation.dim() == 1:
        return strength * rotation.to(dtype)
    angle, larger, smaller, axis = polar_parts(rotation)
    turned, reflected = strength * angle, axis + (strength - 1) * angle
    mean = (larger**strength + smaller**strength) / 2
    half = (larger**strength - smaller**strength) / 2
    cos, sin = mean * turned.cos(), mean * turned.sin()
    along, across = half * reflected.cos(), half * reflected.sin()
    rows = torch.stack((cos + along, across - sin, sin + across, cos - along), dim=-1)
    return rows.view(-1, 2, 2).to(dtype)

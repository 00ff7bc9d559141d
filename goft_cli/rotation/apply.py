"""The two entry points: everything else chooses how, callers only say what."""

from __future__ import annotations

import torch
from torch import Tensor

from goft_cli.rotation import staged
from goft_cli.rotation.engines import ENGINES, choose_engine
from goft_cli.rotation.reuse import Prepared, can_keep
from goft_cli.rotation.turn import Turn, autocast_disabled, scaled, turned


def rotate(x: Tensor, rotation: Tensor, prepared: Prepared | None = None) -> Tensor:
    """R x, from the finest stage to the coarsest. Applied to the rows of W it gives W R^T.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        prepared: keeps what depends on the rotation alone from call to call without gradients.

    Returns:
        (..., d) in x.dtype, under autocast too.

    Raises:
        ValueError: the shapes do not belong together, or a forced engine cannot turn x.
    """
    return _turn(x, rotation, prepared, transposed=False)


def rotate_transposed(
    x: Tensor, rotation: Tensor, prepared: Prepared | None = None, scale: Tensor | None = None
) -> Tensor:
    """R^T x, from the coarsest stage to the finest; the inverse of `rotate` for angles.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        prepared: keeps what depends on the rotation alone from call to call without gradients.
        scale: (d,), factors of the result: diag(scale) R^T x.

    Returns:
        (..., d) in x.dtype, under autocast too.

    Raises:
        ValueError: the shapes do not belong together, or a forced engine cannot turn x.
    """
    if scale is not None:
        _check_scale(scale, x)
        scale = scale.to(x.dtype)
    return _turn(x, rotation, prepared, transposed=True, scale=scale)


def _turn(
    x: Tensor,
    rotation: Tensor,
    kept: Prepared | None,
    transposed: bool,
    scale: Tensor | None = None,
) -> Tensor:
    _check(x, rotation)
    if x.shape[-1] == 1:  # no pair, nothing to turn
        return scaled(x, scale)
    if kept is not None and not can_keep(rotation):
        kept.clear()
        kept = None
    mapped = not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()
    with autocast_disabled(x.device.type):
        if mapped:  # torch.func goes through operations, not through functions like Turn
            return turned(x, "staged", transposed, staged.prepare(rotation, x.dtype), scale)
        name = choose_engine(x)
        if kept is None:
            prepared = ENGINES[name].prepare(rotation.detach(), x.dtype)
        else:
            prepared = kept.get(rotation, x.dtype, name)
        if torch.is_grad_enabled():
            return Turn.apply(x, rotation, scale, name, transposed, *prepared)
        return turned(x, name, transposed, prepared, scale)


def _check(x: Tensor, rotation: Tensor) -> None:
    if rotation.dim() != 1 and (rotation.dim() != 3 or rotation.shape[1:] != (2, 2)):
        raise ValueError(
            f"rotation: found shape {tuple(rotation.shape)}, expected (d-1,) angles or "
            "(d-1, 2, 2) blocks; reshape it"
        )
    dim = len(rotation) + 1
    found = x.shape[-1] if x.dim() else 0
    if found != dim:
        raise ValueError(
            f"x: last dimension is {found}, but a rotation of shape {tuple(rotation.shape)} turns "
            f"vectors of {dim}; pass x with {dim} columns or another rotation"
        )
    if not x.is_floating_point():
        raise ValueError(f"x: dtype is {x.dtype}, expected a floating point one; cast it first")


def _check_scale(scale: Tensor, x: Tensor) -> None:
    if scale.shape != x.shape[-1:]:
        raise ValueError(
            f"scale: found shape {tuple(scale.shape)}, expected {tuple(x.shape[-1:])}, "
            "a factor for each column of x; reshape it"
        )

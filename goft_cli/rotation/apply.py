"""The two entry points: everything else chooses how, callers only say what."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from goft_cli.rotation import staged
from goft_cli.rotation.engines import ENGINES, choose_engine
from goft_cli.rotation.reuse import Prepared, can_keep


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


def rotate_transposed(x: Tensor, rotation: Tensor, prepared: Prepared | None = None) -> Tensor:
    """R^T x, from the coarsest stage to the finest; the inverse of `rotate` for angles.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        prepared: keeps what depends on the rotation alone from call to call without gradients.

    Returns:
        (..., d) in x.dtype, under autocast too.

    Raises:
        ValueError: the shapes do not belong together, or a forced engine cannot turn x.
    """
    return _turn(x, rotation, prepared, transposed=True)


def _turn(x: Tensor, rotation: Tensor, kept: Prepared | None, transposed: bool) -> Tensor:
    _check(x, rotation)
    if x.shape[-1] == 1:  # no pair, nothing to turn
        return x
    if kept is not None and not can_keep(rotation):
        kept.clear()
        kept = None
    mapped = not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()
    with _autocast_disabled(x.device.type):
        if mapped:  # torch.func goes through operations, not through functions like _Turn
            return _turned(x, "staged", transposed, staged.prepare(rotation, x.dtype))
        name = choose_engine(x)
        if kept is None:
            prepared = ENGINES[name].prepare(rotation.detach(), x.dtype)
        else:
            prepared = kept.get(rotation, x.dtype, name)
        if torch.is_grad_enabled():
            return _Turn.apply(x, rotation, name, transposed, *prepared)
        return _turned(x, name, transposed, prepared)


def _turned(x: Tensor, name: str, transposed: bool, prepared: Sequence[Tensor]) -> Tensor:
    engine = ENGINES[name]
    turn = engine.synthesis if transposed else engine.analysis
    return turn(_vectors(x), prepared).view(x.shape)


def _vectors(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class _Turn(torch.autograd.Function):
    """Stores x, the rotation and what was made of it; never anything per stage.

    Without `setup_context`: with it, each call would inspect the signature of `forward`.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        rotation: Tensor,
        name: str,
        transposed: bool,
        *prepared: Tensor,
    ) -> Tensor:
        ctx.engine, ctx.transposed = name, transposed
        # The gradient of x alone does not need x.
        ctx.save_for_backward(x if rotation.requires_grad else None, rotation, *prepared)
        return _turned(x, name, transposed, prepared)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch has no type for it
        x, rotation, *prepared = ctx.saved_tensors
        # For second derivatives: the staged engine consists of differentiable operations.
        engine = ENGINES["staged" if torch.is_grad_enabled() else ctx.engine]
        wants_x, wants_rotation, *_ = ctx.needs_input_grad
        grad_x, grad_rotation, (grad,) = None, None, map(_vectors, grads)
        with _autocast_disabled(grad.device.type):
            if torch.is_grad_enabled():
                prepared = engine.prepare(rotation, grad.dtype)
            if wants_rotation:
                x = _vectors(x)
            if wants_rotation and ctx.transposed:
                grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, wants_x)
            elif wants_x:
                grad_x = (engine.analysis if ctx.transposed else engine.synthesis)(grad, prepared)
            if wants_rotation and not ctx.transposed:
                # <g, R x> = <x, R^T g>: the same gradient with the two exchanged.
                _, grad_rotation = engine.pullback(grad, x, rotation, prepared, needs_x=False)
        if grad_x is not None:
            grad_x = grad_x.view(grads[0].shape)
        if grad_rotation is not None and grad_rotation.dtype != rotation.dtype:
            grad_rotation = grad_rotation.to(rotation.dtype)
        return grad_x, grad_rotation, *[None] * (len(ctx.needs_input_grad) - 2)


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


def _autocast_disabled(device: str) -> AbstractContextManager[object]:
    """Autocast would run the matrix products in its own dtype and return that."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()

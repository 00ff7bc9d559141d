"""The two entry points: everything else chooses how, callers only say what."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

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
    vectors = x.reshape(-1, x.shape[-1])
    if kept is not None and not can_keep(rotation):
        kept.clear()
        kept = None
    name = choose_engine(vectors)
    with _autocast_disabled(x.device.type):
        if kept is None:
            prepared = ENGINES[name].prepare(rotation.detach(), x.dtype)
        else:
            prepared = kept.get(rotation, x.dtype, name)
        turn = _Turn.apply if torch.is_grad_enabled() else _Turn.forward
        turned = turn(vectors, rotation, name, transposed, *prepared)
    return turned.view(x.shape)


class _Turn(torch.autograd.Function):
    """Stores x, the rotation and what was made of it; never anything per stage."""

    @staticmethod
    def forward(
        x: Tensor, rotation: Tensor, name: str, transposed: bool, *prepared: Tensor
    ) -> Tensor:
        engine = ENGINES[name]
        return engine.synthesis(x, prepared) if transposed else engine.analysis(x, prepared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - torch has no type for it
        x, rotation, ctx.engine, ctx.transposed, *prepared = inputs
        # The gradient of x alone does not need x.
        ctx.save_for_backward(x if rotation.requires_grad else None, rotation, *prepared)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch has no type for it
        x, rotation, *prepared = ctx.saved_tensors
        # For second derivatives: the staged engine consists of differentiable operations.
        engine = ENGINES["staged" if torch.is_grad_enabled() else ctx.engine]
        wants_x, wants_rotation, *_ = ctx.needs_input_grad
        grad_x, grad_rotation, (grad,) = None, None, grads
        with _autocast_disabled(grad.device.type):
            if torch.is_grad_enabled():
                prepared = engine.prepare(rotation, grad.dtype)
            if wants_rotation and ctx.transposed:
                grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, wants_x)
            elif wants_x:
                grad_x = (engine.analysis if ctx.transposed else engine.synthesis)(grad, prepared)
            if wants_rotation and not ctx.transposed:
                # <g, R x> = <x, R^T g>: the same gradient with the two exchanged.
                _, grad_rotation = engine.pullback(grad, x, rotation, prepared, needs_x=False)
        if grad_rotation is not None:
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

"""What autograd does with a rotation: which engine runs, what is stored, what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from goft_cli.rotation.engines import ENGINES, Engine


class Turn(torch.autograd.Function):
    """Stores x, the parameters and what was made of them; never anything per stage.

    Nor R^T x, which the gradient of the scale needs: there x is turned again.

    Without `setup_context`: with it, each call would inspect the signature of `forward`.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        rotation: Tensor,
        scale: Tensor | None,
        name: str,
        transposed: bool,
        *prepared: Tensor,
    ) -> Tensor:
        """See `turned`; `prepared` is of the rotation, by the engine of that name."""
        ctx.engine, ctx.transposed = name, transposed
        # The gradient of x alone does not need x.
        needed = rotation.requires_grad or (scale is not None and scale.requires_grad)
        ctx.save_for_backward(x if needed else None, rotation, scale, *prepared)
        return turned(x, name, transposed, prepared, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch has no type for it
        """Gradients of x, the rotation and the scale."""
        x, rotation, scale, *prepared = ctx.saved_tensors
        # For second derivatives: the staged engine consists of differentiable operations.
        engine = ENGINES["staged" if torch.is_grad_enabled() else ctx.engine]
        wants_x, wants_rotation, wants_scale = ctx.needs_input_grad[:3]
        (grad,), grad_scale = map(_vectors, grads), None
        with autocast_disabled(grad.device.type):
            if torch.is_grad_enabled():
                prepared = engine.prepare(rotation, grad.dtype)
            if wants_rotation or wants_scale:
                x = _vectors(x)
            if wants_scale:
                grad_scale = (grad * engine.synthesis(x, prepared)).sum(dim=0)
            grad = scaled(grad, scale)
            wanted = wants_x, wants_rotation
            grad_x, grad_rotation = _gradients(
                engine, ctx.transposed, x, grad, rotation, prepared, wanted
            )
        if grad_x is not None:
            grad_x = grad_x.view(grads[0].shape)
        if grad_rotation is not None and grad_rotation.dtype != rotation.dtype:
            grad_rotation = grad_rotation.to(rotation.dtype)
        return grad_x, grad_rotation, grad_scale, *[None] * (len(ctx.needs_input_grad) - 3)


def turned(
    x: Tensor, name: str, transposed: bool, prepared: Sequence[Tensor], scale: Tensor | None
) -> Tensor:
    """R x, or diag(scale) R^T x, of vectors (..., d) by the engine of that name."""
    engine = ENGINES[name]
    turn = engine.synthesis if transposed else engine.analysis
    return scaled(turn(_vectors(x), prepared).view(x.shape), scale)


def scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    """Vectors (..., d) times factors (d,), if there are any."""
    return x if scale is None else x * scale


def autocast_disabled(device: str) -> AbstractContextManager[object]:
    """Autocast would run the matrix products in its own dtype and return that."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _vectors(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _gradients(
    engine: Engine,
    transposed: bool,
    x: Tensor,
    grad: Tensor,
    rotation: Tensor,
    prepared: Sequence[Tensor],
    wants: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Those of x and of the rotation that are wanted, of vectors (n, d)."""
    wants_x, wants_rotation = wants
    if transposed and wants_rotation:
        return engine.pullback(x, grad, rotation, prepared, wants_x)
    back = engine.analysis if transposed else engine.synthesis
    grad_x = back(grad, prepared) if wants_x else None
    if not wants_rotation:
        return grad_x, None
    # <g, R x> = <x, R^T g>: the same gradient with the two exchanged.
    return grad_x, engine.pullback(grad, x, rotation, prepared, needs_x=False)[1]

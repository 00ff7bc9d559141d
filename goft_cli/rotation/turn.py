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

    Nor R^T x, which the gradient of the scale needs: to turn again costs less than to keep it.

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
            pull = _through_transposed if ctx.transposed else _through
            grad_x, grad_rotation = pull(
                engine, x, grad, rotation, prepared, (wants_x, wants_rotation)
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


def _through_transposed(
    engine: Engine,
    x: Tensor,
    grad: Tensor,
    rotation: Tensor,
    prepared: Sequence[Tensor],
    wants: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of x and of the rotation through R^T x, those that are wanted."""
    wants_x, wants_rotation = wants
    if wants_rotation:
        return engine.pullback(x, grad, rotation, prepared, wants_x)
    return (engine.analysis(grad, prepared) if wants_x else None), None


def _through(
    engine: Engine,
    x: Tensor,
    grad: Tensor,
    rotation: Tensor,
    prepared: Sequence[Tensor],
    wants: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """The same through R x: <g, R x> = <x, R^T g> has the two exchanged."""
    wants_x, wants_rotation = wants
    grad_x = engine.synthesis(grad, prepared) if wants_x else None
    if not wants_rotation:
        return grad_x, None
    return grad_x, engine.pullback(grad, x, rotation, prepared, needs_x=False)[1]

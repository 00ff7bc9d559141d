"""The two entry points: everything else chooses how, callers only say what."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from goft_cli.rotation import staged
from goft_cli.rotation.engines import ENGINES, choose_engine


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
        if scale.shape != x.shape[-1:]:
            raise ValueError(
                f"scale: found shape {tuple(scale.shape)}, expected {tuple(x.shape[-1:])}, "
                "a factor for each column of x; reshape it"
            )
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


class Turn(torch.autograd.Function):
    """Stores x, the parameters and what was made of them; never anything per stage.

    Nor R^T x, which the gradient of the scale needs: there x is turned again.
    """

    # Without `setup_context`: with it, each call would inspect the signature of `forward`.
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
            grad, grad_rotation = scaled(grad, scale), None
            if ctx.transposed and wants_rotation:
                grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, wants_x)
            else:
                back = engine.analysis if ctx.transposed else engine.synthesis
                grad_x = back(grad, prepared) if wants_x else None
                if wants_rotation:  # <g, R x> = <x, R^T g>: the same with the two exchanged
                    _, grad_rotation = engine.pullback(grad, x, rotation, prepared, needs_x=False)
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


def can_keep(rotation: Tensor) -> bool:
    """Whether there are values to compare, and no graph that must lead back to the rotation."""
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not (recorded or rotation.is_meta) and type(rotation) in (Tensor, nn.Parameter)


class Prepared:
    """What an engine prepared of one rotation, made anew as soon as a value of it changes.

    The values themselves are compared, which takes microseconds: version counters miss what is
    written through `.data`, as some optimizers do, and addresses are used again.
    """

    def __init__(self) -> None:
        self._made: tuple[Tensor, torch.dtype, str, tuple[Tensor, ...]] | None = None

    def get(self, rotation: Tensor, dtype: torch.dtype, engine: str) -> tuple[Tensor, ...]:
        """What `engine` prepares of the rotation for vectors of dtype, without gradients."""
        if self._made is not None:
            values, *made_for, prepared = self._made
            same = made_for == [dtype, engine] and values.device == rotation.device
            if same and torch.equal(values, rotation):
                return prepared
        values = rotation.detach().clone()
        prepared = ENGINES[engine].prepare(values, dtype)
        self._made = values, dtype, engine, prepared
        return prepared

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        return Prepared, ()  # copies and files start empty

    def clear(self) -> None:
        """Give the memory back."""
        self._made = None

"""The two entry points, `rotate` and `rotate_transposed`, and their autograd function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from goft_cli.rotation.engines import ENGINES, choose_engine
from goft_cli.rotation.schedule import Angle, angles_from

COMPARABLE = Tensor, nn.Parameter
"""Types whose values `Prepared` can compare; subclasses may hold no values, or a shard of them."""


def rotate(x: Tensor, rotation: Tensor, prepared: Prepared | None = None) -> Tensor:
    """R x, from the finest stage to the coarsest. Applied to the rows of W it gives W R^T.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        prepared: keeps from call to call what depends on the rotation alone.

    Returns:
        (..., d) in x.dtype, under autocast too.

    Raises:
        ValueError: the shapes do not belong together, or a forced engine cannot turn x.
    """
    return _turn(x, rotation, prepared, transposed=False)


def rotate_transposed(
    x: Tensor,
    rotation: Tensor,
    prepared: Prepared | None = None,
    scale: Tensor | None = None,
    angle: Angle = "direct",
) -> Tensor:
    """R^T x, from the coarsest stage to the finest; the inverse of `rotate` for angles.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: parameters (d-1,) of angles, or blocks (d-1, 2, 2).
        prepared: keeps from call to call what depends on the rotation alone.
        scale: (d,), factors of the result: diag(scale) R^T x.
        angle: how a parameter becomes an angle in radians, see `angles_from`.

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
    return _turn(x, rotation, prepared, transposed=True, scale=scale, angle=angle)


def _turn(
    x: Tensor,
    rotation: Tensor,
    kept: Prepared | None,
    transposed: bool,
    scale: Tensor | None = None,
    angle: Angle = "direct",
) -> Tensor:
    _check(x, rotation)
    if x.shape[-1] == 1:  # no pair, nothing to turn
        return scaled(x, scale)
    compiling = torch.compiler.is_compiling()
    # torch.func and forward mode differentiate operations; they do not support functions like Turn.
    by_operation = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    mapped = by_operation and not compiling
    name = "staged" if mapped else choose_engine(x)
    if kept is None or compiling or mapped or type(rotation) not in COMPARABLE or rotation.is_meta:
        values = rotation if mapped else rotation.detach()
        made = prepare(values, angle, x.dtype, name)
    else:
        made = kept.get(rotation, angle, x.dtype, name)
    if torch.is_grad_enabled() and not mapped:
        return Turn.apply(x, rotation, scale, angle, name, transposed, *made)
    return turned(x, name, transposed, made[2:], scale)


def prepare(rotation: Tensor, angle: Angle, dtype: torch.dtype, engine: str) -> tuple[Any, ...]:
    """Angles and d angle / d parameter, (d-1,) each, then the tensors that the engine prepared.

    The first two are None if the parameters are the angles themselves, or blocks.
    """
    made_of = ENGINES[engine]
    if rotation.dim() == 3 or angle == "direct":
        return None, None, *made_of.prepare(rotation, dtype)
    angles = angles_from(rotation, angle)
    slope = math.pi - angles.square() / math.pi  # of pi tanh(p)
    return angles, slope, *made_of.prepare(angles, dtype)


def _check(x: Tensor, rotation: Tensor) -> None:
    shape = rotation.shape
    if len(shape) != 1 and (len(shape) != 3 or shape[1:] != (2, 2)):
        raise ValueError(
            f"rotation: found shape {tuple(shape)}, expected (d-1,) angles or "
            "(d-1, 2, 2) blocks; reshape it"
        )
    found, dim = x.shape[-1] if x.dim() else 0, len(rotation) + 1
    if found != dim:
        raise ValueError(
            f"x: last dimension is {found}, but a rotation of shape {tuple(shape)} turns "
            f"vectors of {dim}; pass x with {dim} columns or another rotation"
        )
    if not x.is_floating_point():
        raise ValueError(f"x: dtype is {x.dtype}, expected a floating point one; cast it first")
    if rotation.device != x.device:
        raise ValueError(
            f"rotation: found on {rotation.device}, but x is on {x.device}; load its weights, or "
            "move one of the two"
        )


class Turn(torch.autograd.Function):
    """Stores x, the parameters and the prepared tensors; no tensor per stage.

    The gradient of the scale needs R^T x, which is not stored but computed again.
    """

    # Without `setup_context`: with it, each call would inspect the signature of `forward`.
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        rotation: Tensor,
        scale: Tensor | None,
        angle: Angle,
        name: str,
        transposed: bool,
        *made: Tensor,
    ) -> Tensor:
        """See `turned`; `made` is the result of `prepare`."""
        ctx.angle, ctx.engine, ctx.transposed = angle, name, transposed
        # The gradient of x alone does not need x.
        needed = rotation.requires_grad or (scale is not None and scale.requires_grad)
        ctx.save_for_backward(x if needed else None, rotation, scale, *made)
        return turned(x, name, transposed, made[2:], scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch has no type for it
        """Gradients of x, the rotation and the scale."""
        x, rotation, scale, *made = ctx.saved_tensors
        name = ctx.engine
        wants_x, wants_rotation, wants_scale, *others = ctx.needs_input_grad
        (grad,), grad_scale, grad_rotation = grads, None, None
        if torch.is_grad_enabled():
            # For second derivatives: the staged engine consists of differentiable operations.
            name = "staged"
            made = prepare(rotation, ctx.angle, grad.dtype, name)
        engine, (angles, slope, *prepared) = ENGINES[name], made
        turns = rotation if angles is None else angles
        if wants_scale:
            products = grad * engine.synthesis(x, prepared)
            grad_scale = products.reshape(-1, len(scale)).sum(dim=0)
        grad = scaled(grad, scale)
        if ctx.transposed and wants_rotation:
            grad_x, grad_rotation = engine.pullback(x, grad, turns, prepared, wants_x)
        else:
            back = engine.analysis if ctx.transposed else engine.synthesis
            grad_x = back(grad, prepared) if wants_x else None
            if wants_rotation:  # <g, R x> = <x, R^T g>: the same with the two exchanged
                _, grad_rotation = engine.pullback(grad, x, turns, prepared, needs_x=False)
        if grad_rotation is not None:
            grad_rotation = scaled(grad_rotation, slope)
            if grad_rotation.dtype != rotation.dtype:
                grad_rotation = grad_rotation.to(rotation.dtype)
        return grad_x, grad_rotation, grad_scale, *[None] * len(others)


def turned(
    x: Tensor, name: str, transposed: bool, prepared: Sequence[Tensor], scale: Tensor | None
) -> Tensor:
    """R x, or diag(scale) R^T x, of vectors (..., d) by the engine of that name."""
    engine = ENGINES[name]
    turn = engine.synthesis if transposed else engine.analysis
    return scaled(turn(x, prepared), scale)


def scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    """Vectors (..., d) times factors (d,), if there are any."""
    return x if scale is None else x * scale


class Prepared:
    """Cache of what an engine prepared for one rotation, remade when a value of it changes.

    The values are compared, which takes microseconds: version counters miss writes through
    `.data`, which some optimizers do, and addresses are reused.
    """

    def __init__(self) -> None:
        # One tuple, so that a thread never reads values and a result that do not belong together.
        self._kept: tuple[Tensor, tuple[str, torch.dtype, str], tuple[Any, ...]] | None = None

    def get(
        self, rotation: Tensor, angle: Angle, dtype: torch.dtype, engine: str
    ) -> tuple[Any, ...]:
        """See `prepare`; without gradients."""
        made_for = angle, dtype, engine
        if self._kept is not None:
            values, kept_for, made = self._kept
            same = kept_for == made_for and values.device == rotation.device
            if same and torch.equal(values, rotation):
                return made
        with torch.inference_mode(False), torch.no_grad():  # training may use it later
            values = rotation.detach().clone()
            made = prepare(values, angle, dtype, engine)
        self._kept = values, made_for, made
        return made

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        return Prepared, ()  # copies and files start empty

    def clear(self) -> None:
        """Free the memory."""
        self._kept = None

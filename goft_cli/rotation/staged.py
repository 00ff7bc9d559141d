"""The reference engine, stage by stage: O(d) per vector, for any width.

Both directions walk the tree of live coordinates. Before the finest stage all d coordinates are
live, after the coarsest only coordinate 0, so the tensors halve from one stage to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from goft_cli.rotation.schedule import (
    Stage,
    blocks_from,
    compute_dtype,
    rotation_gradient,
    schedule,
)


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """True: every width, floating point type and device."""
    return True


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Blocks (d-1, 2, 2) in float32 or wider; each call rounds them to the vectors' dtype."""
    return (blocks_from(rotation, torch.promote_types(dtype, compute_dtype(rotation))),)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (..., d), from the finest stage to the coarsest."""
    blocks = prepared[0].to(x.dtype)
    live, details = x, []
    for stage in schedule(x.shape[-1]):
        live, detail = _fold(live, blocks[stage.span], stage)
        details.append(detail)
    return _unfold(live, details)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (..., d), from the coarsest stage to the finest."""
    blocks = prepared[0].to(x.dtype)
    live = x[..., :1]
    for stage in reversed(schedule(x.shape[-1])):
        live = _grow(live, x, blocks[stage.span], stage)
    return live


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`; it walks up the tree again, so that only x is stored.

    Blocks need not be invertible: the inputs of each stage are computed again from x.
    """
    wide = prepared[0]
    blocks = wide.to(x.dtype)
    stages = schedule(x.shape[-1])
    inputs, live = [], x[..., :1]
    for stage in reversed(stages):
        inputs.append((live[..., : stage.pairs], _details(x, stage)))
        live = _grow(live, x, blocks[stage.span], stage)
    gradient, details, live = torch.empty_like(wide), [], grad
    for stage, (first, second) in zip(stages, reversed(inputs), strict=True):
        reached = live[..., : 2 * stage.pairs].unflatten(-1, (stage.pairs, 2))
        products = torch.stack((first, second), dim=-1).unsqueeze(-1) * reached.unsqueeze(-2)
        gradient[stage.span] = products.reshape(-1, stage.pairs, 2, 2).sum(dim=0, dtype=wide.dtype)
        live, detail = _fold(live, blocks[stage.span], stage)
        details.append(detail)
    return _unfold(live, details) if needs_x else None, rotation_gradient(rotation, gradient)


def _fold(live: Tensor, blocks: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """One stage towards the root; returns the coordinates that stay live, and the others."""
    paired = 2 * stage.pairs
    first, second = live[..., 0:paired:2], live[..., 1:paired:2]
    a1, b1, a2, b2 = blocks.view(-1, 4).unbind(-1)
    return _append(a1 * first + b1 * second, live[..., paired:]), a2 * first + b2 * second


def _grow(live: Tensor, x: Tensor, blocks: Tensor, stage: Stage) -> Tensor:
    """One stage towards the leaves: live coordinates and the details that x holds for them."""
    first, second = live[..., : stage.pairs], _details(x, stage)
    a1, b1, a2, b2 = blocks.view(-1, 4).unbind(-1)
    even = _append(a1 * first + a2 * second, live[..., stage.pairs :])
    return _interleave(even, b1 * first + b2 * second)


def _details(x: Tensor, stage: Stage) -> Tensor:
    """(..., pairs): the second coordinate of each pair of the stage."""
    return x[..., stage.stride :: 2 * stage.stride]


def _unfold(live: Tensor, details: list[Tensor]) -> Tensor:
    """Put all coordinates back in their places, the coarsest details first."""
    for detail in reversed(details):
        live = _interleave(live, detail)
    return live


def _append(paired: Tensor, passing: Tensor) -> Tensor:
    """Append the last coordinate if their number is odd, so that it passed the stage unchanged."""
    return torch.cat((paired, passing), dim=-1) if passing.shape[-1] else paired


def _interleave(even: Tensor, odd: Tensor) -> Tensor:
    """(..., p or p+1) and (..., p) to (..., 2p or 2p+1): even[0], odd[0], even[1], ..."""
    count = odd.shape[-1]
    woven = torch.stack((even[..., :count], odd), dim=-1).flatten(-2)
    return _append(woven, even[..., count:])

"""Stage by stage: O(d) per vector, any width, every operation differentiable.

Both directions walk the tree of live coordinates. At the fine end all d coordinates are live, at
the coarse end only those at multiples of twice the largest stride, so the tensors that the stages
touch halve from one to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from goft_cli.rotation.pairs import Pairs
from goft_cli.rotation.schedule import Stage


def analysis(x: Tensor, pairs: Pairs, stages: Sequence[Stage]) -> Tensor:
    """R x: stages in the given order, fine to coarse.

    Args:
        x: (..., d).
        pairs: coefficients in x.dtype, one per pair of the whole schedule.
        stages: consecutive stages of `schedule(d)`, starting with stride 1.

    Returns:
        (..., d).
    """
    details: list[Tensor] = []
    live = x
    for stage in stages:
        a1, b1, a2, b2 = (coefficient[stage.span] for coefficient in pairs)
        paired = 2 * stage.pairs
        first, second = live[..., 0:paired:2], live[..., 1:paired:2]
        details.append(a2 * first + b2 * second)
        live = _append(a1 * first + b1 * second, live[..., paired:])
    for detail in reversed(details):
        live = _interleave(live, detail)
    return live


def synthesis(x: Tensor, pairs: Pairs, stages: Sequence[Stage]) -> Tensor:
    """R^T x: the transposed stages from coarse to fine, that is in reverse order.

    Args:
        x: (..., d).
        pairs: coefficients in x.dtype, one per pair of the whole schedule.
        stages: consecutive stages of `schedule(d)`, starting with stride 1.

    Returns:
        (..., d).
    """
    if not stages:
        return x
    live = x[..., :: 2 * stages[-1].stride]
    for stage in reversed(stages):
        a1, b1, a2, b2 = (coefficient[stage.span] for coefficient in pairs)
        first, second = live[..., : stage.pairs], x[..., stage.stride :: 2 * stage.stride]
        turned = _append(a1 * first + a2 * second, live[..., stage.pairs :])
        live = _interleave(turned, b1 * first + b2 * second)
    return live


def _append(paired: Tensor, passing: Tensor) -> Tensor:
    """Put back the last coordinate where an odd one passed the stage unchanged."""
    return torch.cat((paired, passing), dim=-1) if passing.shape[-1] else paired


def _interleave(even: Tensor, odd: Tensor) -> Tensor:
    """(..., p or p+1) and (..., p) to (..., 2p or 2p+1): even[0], odd[0], even[1], ..."""
    count = odd.shape[-1]
    woven = torch.stack((even[..., :count], odd), dim=-1).flatten(-2)
    return _append(woven, even[..., count:])

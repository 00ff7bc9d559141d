"""The two entry points: everything else chooses how, callers only say what."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from goft_cli.rotation import blocked
from goft_cli.rotation.pairs import Pairs, compute_dtype, pairs_from
from goft_cli.rotation.schedule import schedule
from goft_cli.rotation.staged import analysis, synthesis


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """R x, from the finest stage to the coarsest. Applied to the rows of W it gives W R^T.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).

    Returns:
        (..., d) in x.dtype, under autocast too.

    Raises:
        ValueError: the shapes do not belong together.
    """
    pairs = _checked_pairs(x, rotation)
    with _autocast_disabled(x):
        return analysis(x, pairs.to(x.dtype), schedule(x.shape[-1]))


def rotate_transposed(x: Tensor, rotation: Tensor) -> Tensor:
    """R^T x, from the coarsest stage to the finest; the inverse of `rotate` for angles.

    Args:
        x: (..., d) floating point, any strides, possibly no vectors at all.
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).

    Returns:
        (..., d) in x.dtype, under autocast too. Which of two algebraically equal forms computes it
        depends on the width and the number of vectors alone.

    Raises:
        ValueError: the shapes do not belong together.
    """
    pairs = _checked_pairs(x, rotation)
    dim = x.shape[-1]
    with _autocast_disabled(x):
        if blocked.pays(dim, vectors=x.shape[:-1].numel()):
            return blocked.synthesis_blocked(x, pairs)
        return synthesis(x, pairs.to(x.dtype), schedule(dim))


def _checked_pairs(x: Tensor, rotation: Tensor) -> Pairs:
    pairs = pairs_from(rotation, compute_dtype(x, rotation))
    dim = len(rotation) + 1
    found = x.shape[-1] if x.dim() else 0
    if found != dim:
        raise ValueError(
            f"x: last dimension is {found}, but a rotation of shape {tuple(rotation.shape)} turns "
            f"vectors of {dim}; pass x with {dim} columns or another rotation"
        )
    if not x.is_floating_point():
        raise ValueError(f"x: dtype is {x.dtype}, expected a floating point one; cast it first")
    return pairs


def _autocast_disabled(x: Tensor) -> AbstractContextManager[object]:
    """Autocast would run the matrix products in its own dtype and return that."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()

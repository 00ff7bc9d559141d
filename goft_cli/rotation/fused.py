"""R^T x, R x and their gradients in one pass over memory each, through Triton.

Forward reads x once and writes once, backward reads x and the gradient once and writes once, in
their own dtype; arithmetic is in float32. `goft_cli.rotation.launches` says what is launched,
`goft_cli.rotation.kernels` has the kernels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from goft_cli.rotation.launches import BLOCK, warps_of
from goft_cli.rotation.self_check import passes

MAX_DIM = 16384
"""Widest row."""

_healthy: dict[tuple[torch.dtype, torch.device], bool] = {}


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels take vectors of this width and dtype on a device that can run them."""
    narrow = dtype in (torch.float32, torch.bfloat16, torch.float16)
    return narrow and 2 <= dim <= MAX_DIM and available(dtype, device)


@torch.compiler.assume_constant_result
def available(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels compile for the device and agree with the staged engine.

    Found out at the first call for each dtype and device; a warning says why the answer is no. The
    CPU counts only under Triton's interpreter (TRITON_INTERPRET=1), which is slow, for tests.
    """
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return False
    if (dtype, device) not in _healthy:
        # Three blocks, the last one not full, and three rounds for each program.
        shape = (warps_of(device), 3 * BLOCK - 16)
        engine, remedy = sys.modules[__name__], "update torch and Triton"
        healthy = passes(engine, "fused rotation kernels", shape, dtype, device, remedy)
        _healthy[dtype, device] = healthy
    return _healthy[dtype, device]


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The blocks of all pairs as the kernels read them, whatever the dtype of x.

    Args:
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        dtype: of x; float32 is computed in all the same.

    Returns:
        One float32 tensor (4, D), D the next power of two: see `warp`.
    """
    return (torch.ops.goft.prepare(rotation),)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x for x (n, d), in x.dtype."""
    return torch.ops.goft.turn(x, prepared[0], True)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x for x (n, d), in x.dtype."""
    return torch.ops.goft.turn(x, prepared[0], False)


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`."""
    quasi = rotation.dim() == 3
    grad_x, grad_rotation = torch.ops.goft.pullback(x, grad, prepared[0], quasi, needs_x)
    return grad_x if needs_x else None, grad_rotation

"""R^T x, R x and their gradients in one pass over memory each, through Triton.

The forward pass reads x once and writes once; the backward pass reads x and the gradient once and
writes once, in their own dtype; arithmetic is in float32. This file launches the kernels of
`goft_cli.rotation.kernels`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from goft_cli.rotation.self_check import passes

MAX_DIM = 16384
"""Width of the widest row."""

BLOCK = 256
"""Coordinates that a warp turns at once, eight per thread: its registers hold no more of them with
their coefficients and stored inputs."""

HEADS_WARPS = 8
"""Warps that turn the first coordinates of all blocks together: few programs share them."""

WARPS_PER_PROCESSOR = 16
"""Warps per multiprocessor: enough to hide memory latency; its registers hold 12 to 32."""

_healthy: dict[tuple[torch.dtype, torch.device], bool] = {}


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels take vectors of this width and dtype on a device that can run them."""
    narrow = dtype in (torch.float32, torch.bfloat16, torch.float16)
    return narrow and 2 <= dim <= MAX_DIM and available(dtype, device)


@torch.compiler.assume_constant_result
def available(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels compile for the device and agree with the staged engine.

    Checked at the first call for each dtype and device; a warning says why they do not work. The
    CPU works only under Triton's interpreter (TRITON_INTERPRET=1), which is slow and for tests.
    """
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return False
    if (dtype, device) not in _healthy:
        # Three blocks, the last one incomplete, and three iterations for each program.
        shape = (warps_of(device), 3 * BLOCK - 16)
        engine, remedy = sys.modules[__name__], "update torch and Triton"
        name = "fused rotation kernels"
        _healthy[dtype, device] = passes(engine, name, shape, dtype, device, remedy)
    return _healthy[dtype, device]


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """All blocks as the kernels read them: one float32 (4, D), D the next power of two, see `warp`.

    It does not depend on the dtype of x.
    """
    return (torch.ops.goft.prepare(rotation),)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x for x (..., d), in x.dtype."""
    return torch.ops.goft.turn(x.reshape(-1, x.shape[-1]), prepared[0], True).view(x.shape)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x for x (..., d), in x.dtype."""
    return torch.ops.goft.turn(x.reshape(-1, x.shape[-1]), prepared[0], False).view(x.shape)


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`."""
    vectors, reached = (tensor.reshape(-1, x.shape[-1]) for tensor in (x, grad))
    quasi = rotation.dim() == 3
    grad_x, turns = torch.ops.goft.pullback(vectors, reached, prepared[0], quasi, needs_x)
    return grad_x.view(x.shape) if needs_x else None, turns


# torch.library.custom_op would be shorter, but each call takes three times as long.
torch.library.define("goft::prepare", "(Tensor rotation) -> Tensor")
torch.library.define("goft::turn", "(Tensor x, Tensor coef, bool transposed) -> Tensor")
torch.library.define(
    "goft::pullback",
    "(Tensor x, Tensor grad, Tensor coef, bool quasi, bool needs_x) -> (Tensor, Tensor)",
)


@torch.library.impl("goft::prepare", "default")
def _prepare(rotation: Tensor) -> Tensor:
    coef, dim, size = _empty_coef(rotation), len(rotation) + 1, 256
    width = coef.shape[1]
    with _on(rotation.device):
        _kernels().prepare[(_ceil(width, size),)](
            rotation.contiguous(), coef, dim, QUASI=rotation.dim() == 3, WIDTH=width, SIZE=size
        )
    return coef


@torch.library.register_fake("goft::prepare")
def _empty_coef(rotation: Tensor) -> Tensor:
    return rotation.new_empty(4, padded(len(rotation) + 1), dtype=torch.float32)


@torch.library.impl("goft::turn", "default")
def _turn(x: Tensor, coef: Tensor, transposed: bool) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    if len(x):
        with _on(x.device):
            (_synthesise if transposed else _analyse)(x, coef, out)
    return out


@torch.library.register_fake("goft::turn")
def _(x: Tensor, coef: Tensor, transposed: bool) -> Tensor:
    return x.new_empty(x.shape)


def _synthesise(x: Tensor, coef: Tensor, out: Tensor) -> None:
    rows, dim = x.shape
    tiling = Tiling.of(x, coef)
    grid = (tiling.blocks * tiling.programs(rows, x.device),)
    _kernels().synthesis[grid](x, coef, out, rows, dim, **tiling.constants())


def _analyse(x: Tensor, coef: Tensor, out: Tensor, stride: int = 1) -> None:
    """Write R x of x (n, columns) to each stride-th column of out (n, d)."""
    rows, columns = x.shape
    tiling = Tiling.of(x, coef, stride)
    heads = coef.new_empty(rows, tiling.blocks)
    grid = (tiling.blocks * tiling.programs(rows, x.device),)
    _kernels().analysis[grid](
        x, coef, out, heads, rows, out.shape[1], columns, STRIDE=stride, **tiling.constants()
    )
    if tiling.blocks > 1:
        _analyse(heads, coef, out, BLOCK)


@torch.library.impl("goft::pullback", "default")
def _pullback(
    x: Tensor, grad: Tensor, coef: Tensor, quasi: bool, needs_x: bool
) -> tuple[Tensor, Tensor]:
    x, grad = x.contiguous(), grad.contiguous()
    grad_x, grad_rotation = _empty_gradients(x, grad, coef, quasi, needs_x)
    (rows, dim), kinds = x.shape, 4 if quasi else 1
    if not rows:
        return grad_x, grad_rotation.zero_()
    programs = Tiling.of(x, coef).programs(rows, x.device)
    shares = coef.new_empty(programs, kinds, dim)
    with _on(x.device):
        _pull(x, grad, coef, grad_x, shares)
        _kernels().collect[(_ceil(dim, 32), kinds)](
            shares, grad_rotation, programs, dim, kinds, WIDTH=coef.shape[1], DEPTH=128, SIZE=32
        )
    return grad_x, grad_rotation


@torch.library.register_fake("goft::pullback")
def _empty_gradients(
    x: Tensor, grad: Tensor, coef: Tensor, quasi: bool, needs_x: bool
) -> tuple[Tensor, Tensor]:
    pairs = x.shape[1] - 1
    shape = (pairs, 2, 2) if quasi else (pairs,)
    return x.new_empty(x.shape if needs_x else (0,)), coef.new_empty(shape)


def _pull(
    x: Tensor, grad: Tensor, coef: Tensor, grad_x: Tensor, shares: Tensor, stride: int = 1
) -> None:
    """Fill shares and, unless it is empty, grad_x, for grad at each stride-th column of x."""
    rows, columns = grad.shape
    programs, kinds, dim = shares.shape
    tiling = Tiling.of(grad, coef, stride)
    heads = coef.new_empty(rows, tiling.blocks)
    _kernels().pullback[(tiling.blocks * programs,)](
        x, grad, coef, grad_x, heads, shares, rows, dim, columns,
        QUASI=kinds == 4, NEEDS_X=grad_x.numel() > 0, STRIDE=stride, **tiling.constants(),
    )  # fmt: skip
    if tiling.blocks > 1:
        _pull(x, heads, coef, grad_x, shares, BLOCK)


class Tiling(NamedTuple):
    """How the kernels divide rows into blocks: see `warp`."""

    blocks: int
    block: int
    """Coordinates of a block, a power of two, at most BLOCK."""
    rows: int
    """Rows that a program takes at once."""
    width: int
    """Width of the whole row, padded to a power of two."""
    levels: int
    """Stages among the blocks."""
    within: int
    """Stages among the coordinates that one load of a thread brings, 16 bytes."""

    @classmethod
    def of(cls, x: Tensor, coef: Tensor, stride: int = 1) -> Tiling:
        """The tiling for x (n, columns): every stride-th of the columns that coef is made for."""
        columns, width = x.shape[1], coef.shape[1]
        padded = width // stride
        block, warps = min(padded, BLOCK), 1 if stride == 1 else HEADS_WARPS
        return cls(
            blocks=_ceil(columns, block),
            block=block,
            rows=warps * BLOCK // block,
            width=width,
            levels=_log2(padded // block),
            within=min(_log2(block), _log2(16 // x.element_size())) if stride == 1 else 0,
        )

    def programs(self, rows: int, device: torch.device) -> int:
        """Number of programs that share the rows of each block."""
        return min(_ceil(rows, self.rows), _ceil(warps_of(device), self.blocks))

    def constants(self) -> dict[str, int]:
        """The compile-time constants of a kernel."""
        return {
            "ROWS": self.rows,
            "D": self.block,
            "WIDTH": self.width,
            "LEVELS": self.levels,
            "WITHIN": self.within,
            "ACROSS": _log2(self.block) - self.within,
            "num_warps": self.rows * self.block // BLOCK,
        }


def warps_of(device: torch.device) -> int:
    """Number of warps to start: enough to fill the device; under the interpreter, two."""
    if device.type != "cuda":
        return 2
    return WARPS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def _kernels() -> ModuleType:
    from goft_cli.rotation import kernels

    return kernels


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Make `device` the current one: Triton launches there, even if the tensors are elsewhere."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def padded(dim: int) -> int:
    """The next power of two."""
    return 1 << (dim - 1).bit_length()


def _log2(power: int) -> int:
    return power.bit_length() - 1


def _ceil(count: int, size: int) -> int:
    return -(-count // size)

"""R^T x, R x and their gradients in one pass over memory each, through Triton.

Two reads and writes of x in its own dtype forward, three backward: what any exact form must move.
The kernels are in `goft_cli.rotation.kernels`, which alone imports Triton. Each launch is one
opaque operator, so that torch.compile neither looks into it nor breaks at it.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from goft_cli.rotation import staged

MAX_DIM = 16384
"""Widest row that one program turns on chip."""

WIDEST_STRICT, WIDEST_QUASI = 4096, 1024
"""Widest row, or block of one, whose gradient one program sums up in its registers."""

_healthy: dict[torch.device, bool] = {}


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels take vectors of this width and dtype on a device that can run them."""
    narrow = dtype in (torch.float32, torch.bfloat16, torch.float16)
    return 2 <= dim <= MAX_DIM and narrow and available(device)


@torch.compiler.assume_constant_result
def available(device: torch.device) -> bool:
    """Whether Triton compiles the kernels for the device and they agree with the staged engine.

    Found out at the first call for each device; a warning says why the answer is no. The CPU counts
    only under Triton's interpreter (TRITON_INTERPRET=1), which is slow and meant for tests.
    """
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return False
    if device not in _healthy:
        _healthy[device] = find_spec("triton") is not None and _check(device)
    return _healthy[device]


def _check(device: torch.device) -> bool:
    try:
        wrong = _disagreements(device)
    except Exception as error:  # whatever Triton or the driver raises
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        warnings.warn(
            f"fused rotation kernels: {wrong} on {device}, expected them to agree with the staged "
            "engine; another engine is used instead, so update torch and Triton for full speed",
            RuntimeWarning,
            stacklevel=2,
        )
    return not wrong


@torch.no_grad()
def _disagreements(device: torch.device) -> str:
    """Which results differ from the staged engine's in float64, for one small case of each kind."""
    rows, dim = 33, 96
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    wrong: list[str] = []
    for kind, rotation in (("strict", draw(dim - 1)), ("quasi", draw(dim - 1, 2, 2))):
        case = (draw(rows, dim), draw(rows, dim), rotation)
        found = _results(sys.modules[__name__], *(tensor.to(device) for tensor in case))
        expected = _results(staged, *(tensor.double() for tensor in case))
        for name, wanted in expected.items():
            error = (found[name].double().cpu() - wanted).norm() / wanted.norm()
            # Rounding costs a few eps; a wrong sign or a wrong pair costs everything.
            if not error <= 64 * torch.finfo(torch.float32).eps:
                wrong.append(f"{kind} {name} is off by {error:.1e}")
    return ", ".join(wrong)


def _results(engine: Any, x: Tensor, grad: Tensor, rotation: Tensor) -> dict[str, Tensor]:  # noqa: ANN401 - a module
    prepared = engine.prepare(rotation, x.dtype)
    grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, needs_x=True)
    return {
        "R^T x": engine.synthesis(x, prepared),
        "R x": engine.analysis(x, prepared),
        "gradient of x": grad_x,
        "gradient of the rotation": grad_rotation,
    }


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Coefficients as the kernels read them, whatever the dtype of x.

    Args:
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        dtype: of x; float32 is computed in all the same.

    Returns:
        One float32 tensor, (2, D) or (4, D) with D the next power of two: see `kernels`.
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
    """Gradients of R^T x, the same bits for the same inputs.

    Args:
        x: (n, d).
        grad: (n, d), of the output.
        rotation: what was prepared; the coefficients already say all about it.
        prepared: what `prepare` gave.
        needs_x: whether the gradient of x is wanted.

    Returns:
        The gradient of x (n, d) in x.dtype or None, and that of the rotation, (d-1,) angles or
        (d-1, 2, 2) blocks, in float32.
    """
    grad_x, grad_rotation = torch.ops.goft.pullback(x, grad, prepared[0], needs_x)
    return grad_x if needs_x else None, grad_rotation


@torch.library.custom_op("goft::prepare", mutates_args=())
def _prepare(rotation: Tensor) -> Tensor:
    dim, wide = len(rotation) + 1, rotation.float()
    if rotation.dim() == 1:
        kinds = torch.stack((wide.cos(), wide.sin()))
    else:
        kinds = wide.reshape(dim - 1, 4).T
    width, block = _padded(dim), 256
    coef = kinds.new_empty(len(kinds), width)
    with _on(rotation.device):
        _kernels().spread[(_ceil(width, block), len(kinds))](
            kinds, coef, dim, kinds.stride(1), kinds.stride(0), D=width, WIDTH=block
        )
    return coef


@_prepare.register_fake
def _(rotation: Tensor) -> Tensor:
    kinds = 2 if rotation.dim() == 1 else 4
    return rotation.new_empty(kinds, _padded(len(rotation) + 1), dtype=torch.float32)


@torch.library.custom_op("goft::turn", mutates_args=())
def _turn(x: Tensor, coef: Tensor, transposed: bool) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    count, dim = x.shape
    rows, warps = tile(coef.shape[1], "turn")
    if count:
        with _on(x.device):
            _kernels().turn[(_ceil(count, rows),)](
                x, coef, out, count, dim,
                TRANSPOSED=transposed, **_shape(x, coef, rows, coef.shape[1]), num_warps=warps,
            )  # fmt: skip
    return out


@_turn.register_fake
def _(x: Tensor, coef: Tensor, transposed: bool) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("goft::pullback", mutates_args=())
def _pullback(x: Tensor, grad: Tensor, coef: Tensor, needs_x: bool) -> tuple[Tensor, Tensor]:
    x, grad = x.contiguous(), grad.to(x.dtype).contiguous()
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    shape = (x.shape[1] - 1, 2, 2) if len(coef) == 4 else (x.shape[1] - 1,)
    grad_rotation = coef.new_zeros(shape)
    if len(x):
        with _on(x.device):
            _pull(x, grad, coef, grad_x, grad_rotation)
    return grad_x, grad_rotation


def _pull(x: Tensor, grad: Tensor, coef: Tensor, grad_x: Tensor, grad_rotation: Tensor) -> None:
    """Fill grad_x, unless it is empty, and grad_rotation."""
    (count, dim), width = x.shape, coef.shape[1]
    kinds, widest = (4, WIDEST_QUASI) if len(coef) == 4 else (1, WIDEST_STRICT)
    block = min(width, widest)
    blocks = _ceil(dim, block)
    among, inputs, heads, grad_heads = coef, x, x, grad  # nothing is read of these for one block
    if blocks > 1:  # the stages among the blocks are a rotation of their first coordinates
        among, inputs = coef[:, : width // block].contiguous(), x[:, ::block].float().contiguous()
        heads, grad_heads = _turn(inputs, among, True), torch.empty_like(inputs)
    rows, warps = tile(block, "pullback")
    programs = min(_ceil(count, rows), _ceil(_programs(x.device, warps), blocks))
    shares = coef.new_empty(programs, kinds, width)
    _kernels().pullback[(programs, blocks)](
        x, grad, coef, grad_x, shares, heads, grad_heads, count, dim,
        NEEDS_X=grad_x.numel() > 0, BLOCKS=width // block,
        **_shape(x, coef, rows, block), num_warps=warps,
    )  # fmt: skip
    _kernels().collect[(_ceil(dim, 128), kinds)](
        shares, grad_rotation, programs, dim, kinds, D=width, DEPTH=32, WIDTH=128
    )
    if blocks > 1:
        first = torch.empty_like(inputs)
        _pull(inputs, grad_heads, among, first, grad_rotation[1 - blocks :])
        if grad_x.numel():
            grad_x[:, ::block] = first


@_pullback.register_fake
def _(x: Tensor, grad: Tensor, coef: Tensor, needs_x: bool) -> tuple[Tensor, Tensor]:
    pairs = x.shape[1] - 1
    shape = (pairs, 2, 2) if len(coef) == 4 else (pairs,)
    return x.new_empty(x.shape if needs_x else (0,)), coef.new_empty(shape)


def tile(width: int, kernel: Literal["turn", "pullback"]) -> tuple[int, int]:
    """Rows of a tile and warps of a program, for a padded width.

    A thread holds 16 coordinates, or 8 and what a pullback remembers of them: about as many as its
    registers take. Fewer would only mean more warps, and more waiting for one another.
    """
    rows = 1 if width >= 1024 else 2048 // width
    return rows, min(32, rows * width // (512 if kernel == "turn" else 256))


def _shape(x: Tensor, coef: Tensor, rows: int, width: int) -> dict[str, int | bool]:
    stages = width.bit_length() - 1
    within = min(stages, 3 if x.element_size() == 2 else 2)  # among the 16 bytes of one load
    split = {"WITHIN": within, "ACROSS": stages - within}
    return {"QUASI": len(coef) == 4, "ROWS": rows, "D": width, **split}


def _programs(device: torch.device, warps: int) -> int:
    """How many share the rows in a pullback: enough to fill the device, whatever its load."""
    if device.type != "cuda":
        return 4
    return torch.cuda.get_device_properties(device).multi_processor_count * max(1, 16 // warps)


def _kernels() -> ModuleType:
    return importlib.import_module("goft_cli.rotation.kernels")


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, wherever the tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _padded(dim: int) -> int:
    return 1 << (dim - 1).bit_length()


def _ceil(count: int, size: int) -> int:
    return -(-count // size)

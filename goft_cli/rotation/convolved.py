"""The blocked form on a CPU, with a grouped convolution in the place of batched products.

As in `goft_cli.rotation.blocked`, stages with stride below b = BLOCK act inside blocks, the others
on the blocks' first coordinates, the heads. A convolution over one picture with d channels in d/b
groups multiplies each block by its own matrix and writes the result where it belongs; a batched
product would leave it transposed, and the copy into fresh memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from goft_cli.rotation.pairs import blocks_from, compute_dtype, rotation_gradient
from goft_cli.rotation.trees import Plan, make_plan, tree_matrices, tree_pullback

BLOCK = 32
"""Width of a block, a power of two."""

ONEDNN = torch.backends.mkldnn.is_available()
"""Without this library PyTorch convolves slowly."""


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """At least two whole blocks, on a CPU whose PyTorch has oneDNN."""
    return ONEDNN and device.type == "cpu" and dim % BLOCK == 0 and dim > BLOCK


def pays(count: int, dtype: torch.dtype) -> bool:
    """Whether so many vectors are convolved faster than multiplied: `scripts/bench_rotation.py`."""
    return count >= 64 and dtype in (torch.float32, torch.bfloat16)


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Fine (d/b, b, b), coarse (d/b, d/b), and the blocks (d-1, 2, 2) that they are of.

    The matrices are computed in float32 or wider and rounded to dtype once.
    """
    blocks = blocks_from(rotation, torch.promote_types(dtype, compute_dtype(rotation)))
    plan = _plan(blocks)
    fine, coarse = plan.by_tier(tree_matrices(blocks, plan).to(dtype))
    return fine, coarse[0], blocks


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (n, d)."""
    fine, coarse, _ = prepared
    out = _convolved(x, fine.transpose(1, 2))
    heads = x[:, ::BLOCK]
    # The heads should have been turned before: what that changes reaches a block by its first row.
    change = heads @ coarse - heads
    out.unflatten(1, (-1, BLOCK)).addcmul_(change.unsqueeze(-1), fine[:, 0])
    return out


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (n, d)."""
    fine, coarse, _ = prepared
    out = _convolved(x, fine)
    out[:, ::BLOCK] = out[:, ::BLOCK] @ coarse.T
    return out


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients through R^T x from x alone.

    Args:
        x: (n, d), what `synthesis` was given.
        grad: (n, d), gradient of its result.
        rotation: (d-1,) or (d-1, 2, 2), what was prepared.
        prepared: what `synthesis` was given.
        needs_x: whether the gradient of x is wanted.

    Returns:
        (n, d) gradient of x, and that of the rotation in float32 or wider.
    """
    fine, coarse, blocks = prepared
    heads, reached = x[:, ::BLOCK].contiguous(), _by_block(grad)
    of_fine = torch.bmm(_by_block(x).transpose(1, 2), reached)
    of_fine[:, :1] = torch.bmm((heads @ coarse).T.contiguous().unsqueeze(1), reached)
    grad_x = _convolved(grad, fine if needs_x else fine[:, :1])
    grad_heads = grad_x[:, :: BLOCK if needs_x else 1].contiguous()
    if needs_x:
        grad_x[:, ::BLOCK] = grad_heads @ coarse.T
    parts = of_fine.flatten(), (heads.T @ grad_heads).flatten(), coarse.new_zeros(1)
    of_blocks = tree_pullback(blocks, _plan(blocks), torch.cat(parts).to(blocks.dtype))
    return grad_x if needs_x else None, rotation_gradient(rotation, of_blocks)


def _convolved(x: Tensor, matrices: Tensor) -> Tensor:
    """Each block of x (n, d) through its own matrix (out, in b) of (d/b, out, b)."""
    if not len(x):
        return x.new_empty(0, matrices.shape[0] * matrices.shape[1])
    picture = x[None, :, None].permute(0, 3, 1, 2)  # (1, d, n, 1), channels last
    found = F.conv2d(picture, matrices.reshape(-1, BLOCK, 1, 1), groups=len(matrices))
    return found.permute(0, 2, 3, 1).reshape(len(x), -1)


def _by_block(x: Tensor) -> Tensor:
    """(n, d) to (d/b, n, b), a view."""
    return x.unflatten(1, (-1, BLOCK)).transpose(0, 1)


_PLANS: dict[tuple[int, torch.dtype], Plan] = {}


def _plan(blocks: Tensor) -> Plan:
    """The plan of a width, made once; a dict because torch.compile warns of functools caches."""
    dim, count = len(blocks) + 1, (len(blocks) + 1) // BLOCK
    key = dim, blocks.dtype
    if key not in _PLANS:
        shapes = (count, BLOCK, BLOCK), (1, count, count)
        with torch.inference_mode(False):
            plan = make_plan(dim, shapes, blocks.device, blocks.dtype)
        if type(plan.entries) is not Tensor:  # a stand-in without data, as under tracing
            return plan
        _PLANS[key] = plan
    return _PLANS[key]

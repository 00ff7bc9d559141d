"""R^T x as two small matrix products, for many vectors at once.

Stages with stride below b = BLOCK mix coordinates only inside blocks of b neighbours, the coarser
stages only the first coordinates of the blocks, their heads. So R^T x is exactly

    heads = x[:, ::b] @ coarse             coarse: (d/b, d/b), put back in place, then
    each block of x times its own fine     fine: (d/b, b, b)

and R x is the same backwards with both matrices transposed. It costs 2 d b + 2 (d/b)^2 operations
per vector instead of 6 d, in large products instead of dozens of small passes over memory.
`goft_cli.rotation.trees` makes the matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from goft_cli.rotation.pairs import blocks_from, compute_dtype, rotation_gradient
from goft_cli.rotation.trees import Plan, make_plan, tree_matrices, tree_pullback

BLOCK = 32
"""Width of a block, a power of two."""


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Widths that consist of at least two whole blocks."""
    return dim % BLOCK == 0 and dim > BLOCK


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Coarse (d/b, d/b), fine (d/b, b, b), and the blocks (d-1, 2, 2) that they are of.

    The matrices are computed in float32 or wider and rounded to dtype once.
    """
    blocks = blocks_from(rotation, torch.promote_types(dtype, compute_dtype(rotation)))
    dim = len(rotation) + 1
    matrices = tree_matrices(blocks, _plan(dim, blocks)).to(dtype)
    fine = matrices[: dim * BLOCK].view(-1, BLOCK, BLOCK)
    return matrices[dim * BLOCK :].view(len(fine), -1), fine, blocks


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (n, d)."""
    coarse, fine, _ = prepared
    inner, _ = _with_turned_heads(x, coarse)
    turned = torch.bmm(inner.transpose(0, 1), fine)
    return inner.copy_(turned.transpose(0, 1)).flatten(1)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (n, d)."""
    coarse, fine, _ = prepared
    turned = torch.bmm(_by_block(x), fine.transpose(1, 2)).transpose(0, 1)
    out = turned.clone(memory_format=torch.contiguous_format)
    out[..., 0] = turned[..., 0] @ coarse.T
    return out.flatten(1)


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
    coarse, fine, blocks = prepared
    inner, heads = _with_turned_heads(x, coarse)
    reached = _by_block(grad)
    fine_gradient = torch.bmm(inner.permute(1, 2, 0), reached)
    rows = fine if needs_x else fine[:, :1]
    turned = torch.bmm(reached, rows.transpose(1, 2)).transpose(0, 1)
    reached_heads = turned[..., 0]
    of_blocks = _block_gradient(blocks, heads.T @ reached_heads, fine_gradient)
    if needs_x:
        inner.copy_(turned)
        inner[..., 0] = reached_heads @ coarse.T
    return inner.flatten(1) if needs_x else None, rotation_gradient(rotation, of_blocks)


def _by_block(x: Tensor) -> Tensor:
    """(n, d) to (d/b, n, b), a view."""
    return x.unflatten(1, (-1, BLOCK)).transpose(0, 1)


def _with_turned_heads(x: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of x as (n, d/b, b) whose heads went through the coarse stages; the old heads."""
    inner = x.unflatten(1, (-1, BLOCK)).clone(memory_format=torch.contiguous_format)
    heads = inner[..., 0].clone()
    inner[..., 0] = heads @ coarse
    return inner, heads


def _block_gradient(blocks: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
    """(d-1, 2, 2) from the gradients of the two matrices."""
    parts = (fine.flatten(), coarse.flatten(), coarse.new_zeros(1))
    return tree_pullback(blocks, _plan(len(blocks) + 1, blocks), torch.cat(parts).to(blocks.dtype))


_PLANS: dict[tuple[int, torch.device, torch.dtype], Plan] = {}


def _plan(dim: int, like: Tensor) -> Plan:
    """The plan of a width, made once; a dict because torch.compile warns of functools caches."""
    key = dim, like.device, like.dtype
    if key not in _PLANS:
        with torch.inference_mode(False):
            plan = make_plan(dim, BLOCK, like.device, like.dtype)
        if type(plan.entries) is not Tensor:  # a stand-in without data, as under tracing
            return plan
        _PLANS[key] = plan
    return _PLANS[key]

"""R^T x as two small matrix products, for many vectors at once.

Stages with stride below b = BLOCK mix coordinates only inside blocks of b neighbours, the coarser
stages only the first coordinates of the blocks. So R^T x is exactly

    x[..., ::b] @ coarse                   coarse: (d/b, d/b), put back in place, then
    each block of x times its own fine     fine: (d/b, b, b)

and both matrices are what the stages make of identity rows. It costs 2 d b + 2 (d/b)^2 operations
per vector instead of 6 d, in large products instead of dozens of small passes over memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from goft_cli.rotation.pairs import Pairs
from goft_cli.rotation.schedule import Stage, schedule
from goft_cli.rotation.staged import synthesis

BLOCK = 32
"""Width of a block; 16, 32 and 64 measured alike, 128 slower."""

MIN_VECTORS = 128
"""Fewer vectors than this do not repay building the matrices; by 512 they save half the time.

Forward and backward on a two-core CPU, float32 and bfloat16, d = 128 to 11008.
"""

_FINE = BLOCK.bit_length() - 1


def pays(dim: int, vectors: int) -> bool:
    """Whether this form exists for the width and beats the staged one for so many vectors."""
    return dim % BLOCK == 0 and dim > BLOCK and vectors >= MIN_VECTORS


def synthesis_blocked(x: Tensor, pairs: Pairs) -> Tensor:
    """R^T x for a width that is a multiple of BLOCK.

    Args:
        x: (..., d).
        pairs: coefficients (d-1,) in float32 or float64; the products are rounded to x.dtype once.

    Returns:
        (..., d) in x.dtype.
    """
    coarse, fine = (matrix.to(x.dtype) for matrix in _matrices(pairs, x.shape[-1] // BLOCK))
    blocks = x.reshape(-1, x.shape[-1] // BLOCK, BLOCK)
    heads = blocks[..., 0] @ coarse
    blocks = torch.cat((heads.unsqueeze(-1), blocks[..., 1:]), dim=-1)
    return torch.bmm(blocks.transpose(0, 1), fine).transpose(0, 1).reshape(x.shape)


def _matrices(pairs: Pairs, count: int) -> tuple[Tensor, Tensor]:
    """The coarse (count, count) and the fine (count, BLOCK, BLOCK) matrices."""
    stages = schedule(count * BLOCK)
    among_heads = [
        Stage(stage.stride // BLOCK, stage.pairs, stage.offset) for stage in stages[_FINE:]
    ]
    coarse = synthesis(_identity(count, pairs), pairs, among_heads)
    # Row i holds unit vector i in every block at once: the fine stages never cross blocks.
    rows = _identity(BLOCK, pairs).repeat(1, count)
    fine = synthesis(rows, pairs, stages[:_FINE]).view(BLOCK, count, BLOCK)
    return coarse, fine.transpose(0, 1)


def _identity(size: int, like: Pairs) -> Tensor:
    return torch.eye(size, dtype=like.a1.dtype, device=like.a1.device)

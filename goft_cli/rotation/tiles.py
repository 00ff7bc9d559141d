"""Vectors a few at a time, so that what is made of them on the way stays in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

TILE_BYTES = 2**20
"""Of the vectors taken at a time on a CPU."""


def tiles(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same few vectors of each tensor; together they are all vectors.

    On a CPU, tensors of a tile's size stay in its second cache, and the allocator hands out the
    same memory again. Larger ones it maps anew each time, and clearing their pages takes longer
    than the products that fill them. A GPU wants large kernels instead, torch.compile one graph for
    any number of vectors: both get all at once.

    Args:
        tensors: (n, d) each.
    """
    first = tensors[0]
    if first.device.type != "cpu" or torch.compiler.is_compiling():
        yield tensors
        return
    count = max(1, math.ceil(first.nbytes / TILE_BYTES))
    yield from zip(*(tensor.chunk(count) for tensor in tensors), strict=True)

"""The matrices of the blocked form in closed form, and the gradient through them.

A tree over n leaves is a matrix (n, n): row i is the image of coordinate i under R^T. Every
coordinate except the root is the second member of one pair. The entry (i, j) is the product of one
number from each block between leaf j and coordinate i: from the first row (a1 on the left, b1 on
the right) at the levels below the pair of i, from the second row (a2, b2) at that pair, and only
from first rows for the root. The tree over d coordinates is cut into tiers: d/b trees of b leaves,
d/b^2 such trees over their roots, and so on up to a single one. One table look-up, one cumulative
product over the levels and one scatter make all matrices of a rotation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from goft_cli.rotation.schedule import Stage, schedule

Shapes = tuple[tuple[int, int, int], ...]
"""(trees, leaves, leaves) of each tier, finest first; the roots of one are leaves of the next."""


class Plan(NamedTuple):
    """Index tensors that place the numbers of the blocks in the trees, leaf by leaf."""

    entries: Tensor
    """(2, levels, leaves) positions in the table: the first and second row's number by leaf."""
    places: Tensor
    """(levels + 1, leaves) positions in the flat matrices: the details' rows, then the roots'."""
    constants: Tensor
    """(2,) the end of the table: 1 and 0, for the levels at which a leaf has no pair."""
    shapes: Shapes
    """Shapes of the matrices, tier by tier."""

    def zeros(self, like: Tensor) -> Tensor:
        """All matrices as one flat tensor, and one more number for entries without a place."""
        return like.new_zeros(sum(map(math.prod, self.shapes)) + 1)

    def by_tier(self, flat: Tensor) -> list[Tensor]:
        """Views of a tensor like `zeros` as (trees, leaves, leaves), tier by tier."""
        parts = flat[:-1].split([math.prod(shape) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


def make_plan(dim: int, shapes: Shapes, device: torch.device, dtype: torch.dtype) -> Plan:
    """Make the plan for dim >= 2 and blocks of that device and dtype.

    In all tiers but the last one the number of a tree's leaves is a power of two. There may be more
    leaves than coordinates.
    """
    tiers = _trees_by_tier(dim, shapes)
    entries, places = (torch.cat(parts, dim=-1) for parts in zip(*tiers, strict=True))
    constants = torch.tensor([1, 0], dtype=dtype, device=device)
    return Plan(entries.to(device), places.to(device), constants, shapes)


def tree_matrices(blocks: Tensor, plan: Plan) -> Tensor:
    """Matrices of blocks (d-1, 2, 2), like `Plan.zeros`: rows are coordinates, columns leaves."""
    factors, paths = _factors_and_paths(blocks, plan)
    rows = torch.cat((paths[:-1] * factors[1], paths[-1:]))
    return plan.zeros(blocks).scatter_(0, plan.places.flatten(), rows.flatten())


def tree_pullback(blocks: Tensor, plan: Plan, gradient: Tensor) -> Tensor:
    """The gradient (d-1, 2, 2) of the blocks from the gradient of their matrices.

    `gradient` is like `Plan.zeros`; its last number is zero.
    """
    factors, paths = _factors_and_paths(blocks, plan)
    reached = gradient.index_select(0, plan.places.flatten()).view(plan.places.shape)
    found = torch.empty_like(factors)
    torch.mul(reached[:-1], paths[:-1], out=found[1])
    from_details = reached[:-1] * factors[1]
    along = reached[-1]
    for level in reversed(range(len(from_details))):
        torch.mul(along, paths[level], out=found[0, level])
        along = torch.addcmul(from_details[level], along, factors[0, level])
    table = blocks.new_zeros(blocks.numel() + len(plan.constants))
    table.index_add_(0, plan.entries.flatten(), found.flatten())
    return table[: blocks.numel()].view(blocks.shape)


def _factors_and_paths(blocks: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Numbers (2, levels, leaves) by leaf, and products of the first rows below each level."""
    table = torch.cat((blocks.flatten(), plan.constants))
    factors = table.index_select(0, plan.entries.flatten()).view(plan.entries.shape)
    paths = factors.new_ones(plan.places.shape)
    torch.cumprod(factors[0], dim=0, out=paths[1:])
    return factors, paths


def _trees_by_tier(dim: int, shapes: Shapes) -> Iterator[tuple[Tensor, Tensor]]:
    """Entries and places of each tier; a tier covers as many stages as its trees are deep."""
    stages = schedule(dim)
    depths = [(leaves - 1).bit_length() for _, leaves, _ in shapes]
    shared = {"levels": max(depths), "one": 4 * (dim - 1), "nowhere": sum(map(math.prod, shapes))}
    width, used, first = dim, 0, 0
    for (count, leaves, _), depth in zip(shapes, depths, strict=True):
        yield _trees(stages[used : used + depth], width, count, leaves, first, **shared)
        width = math.ceil(width / leaves)
        used, first = used + depth, first + count * leaves * leaves


def _trees(
    stages: tuple[Stage, ...],
    width: int,
    count: int,
    leaves: int,
    first: int,
    *,
    levels: int,
    one: int,
    nowhere: int,
) -> tuple[Tensor, Tensor]:
    """Entries and places of `count` trees, whose matrices start at the flat position `first`.

    Only the first `width` leaves over all trees are coordinates, and only coordinates have pairs.
    """
    # On the CPU, whatever the default device is: these are a few small numbers.
    leaf, tree = (torch.arange(number, device="cpu") for number in (leaves, count))
    tree = tree.unsqueeze(1)
    entries, places = [], []
    for level in range(levels):
        stride = 2**level
        pair, right = leaf // (2 * stride), leaf // stride % 2
        row = 2 * stride * pair + stride
        exists = (row < leaves) & (tree * leaves + row < width) & (level < len(stages))
        offset = stages[level].offset if level < len(stages) else 0
        entry = 4 * (offset + tree * (leaves // (2 * stride)) + pair) + right
        place = first + (tree * leaves + row) * leaves + leaf
        entries.append((torch.where(exists, entry, one), torch.where(exists, entry + 2, one + 1)))
        places.append(torch.where(exists, place, nowhere))
    places.append(first + tree * leaves * leaves + leaf)
    rows = [torch.stack(row) for row in zip(*entries, strict=True)]
    return torch.stack(rows).flatten(2), torch.stack(places).flatten(1)

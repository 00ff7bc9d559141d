"""The matrices of the blocked form in closed form, and the gradient through them.

A tree over n leaves is a matrix (n, n): row i is what coordinate i becomes on its way down. Every
coordinate but the root is the second member of one pair. The entry (i, j) is the product of one
number of each block between leaf j and coordinate i: of the first row (a1 to the left, b1 to the
right) at the levels below the pair of i, of the second row (a2, b2) at that pair itself, and of
first rows alone for the root. So all matrices of a rotation together are one table look-up, one
running product over the levels and one scatter, however many trees and levels there are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from goft_cli.rotation.schedule import Stage, schedule


class Plan(NamedTuple):
    """Where the numbers of the blocks go: to a row of trees, their leaves side by side."""

    entries: Tensor
    """(2, levels, leaves) positions in the table: the first and second row's number by leaf."""
    places: Tensor
    """(levels + 1, leaves) positions in the flat matrices: the details' rows, then the roots'."""
    constants: Tensor
    """(2,) the end of the table: 1 and 0, for the levels at which a leaf has no pair."""
    elements: int
    """Of all matrices together; one more is a place for what exists nowhere."""


def make_plan(dim: int, block: int, device: torch.device, dtype: torch.dtype) -> Plan:
    """The trees of width `block` side by side, then the one over their roots.

    Args:
        dim: a multiple of block, more than one block.
        block: leaves of a fine tree, a power of two.
        device: of the blocks.
        dtype: of the blocks.
    """
    stages, count = schedule(dim), dim // block
    fine = block.bit_length() - 1
    levels = max(fine, len(stages) - fine)
    constants = torch.tensor([1, 0], dtype=dtype)
    elements = dim * block + count * count
    shared = {"levels": levels, "one": 4 * (dim - 1), "nowhere": elements}
    trees = _trees(stages[:fine], count, block, 0, **shared)
    root = _trees(stages[fine:], 1, count, dim * block, **shared)
    entries, places = (torch.cat(parts, dim=-1) for parts in zip(trees, root, strict=True))
    return Plan(entries.to(device), places.to(device), constants.to(device), elements)


def tree_matrices(blocks: Tensor, plan: Plan) -> Tensor:
    """All matrices as one flat tensor.

    Args:
        blocks: (d-1, 2, 2).
        plan: of width d.

    Returns:
        (elements,): the fine matrices (d/b, b, b) and the coarse one (d/b, d/b), rows first.
    """
    factors, paths = _factors_and_paths(blocks, plan)
    rows = torch.cat((paths[:-1] * factors[1], paths[-1:]))
    matrices = blocks.new_zeros(plan.elements + 1)
    return matrices.scatter_(0, plan.places.flatten(), rows.flatten())[:-1]


def tree_pullback(blocks: Tensor, plan: Plan, gradient: Tensor) -> Tensor:
    """The gradient of the blocks from that of their matrices.

    Args:
        blocks: (d-1, 2, 2).
        plan: of width d.
        gradient: (elements + 1,), the last one zero.

    Returns:
        (d-1, 2, 2).
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


def _trees(
    stages: tuple[Stage, ...],
    count: int,
    leaves: int,
    first: int,
    *,
    levels: int,
    one: int,
    nowhere: int,
) -> tuple[Tensor, Tensor]:
    """Entries and places of `count` trees, whose matrices start at the flat position `first`."""
    leaf, tree = torch.arange(leaves), torch.arange(count).unsqueeze(1)
    entries, places = [], []
    for level in range(levels):
        stride = 2**level
        pair, right = leaf // (2 * stride), leaf // stride % 2
        row = 2 * stride * pair + stride
        exists = (row < leaves) & (level < len(stages))
        entry = torch.zeros(count, leaves, dtype=torch.long)
        if level < len(stages):
            stage = stages[level]
            entry = 4 * (stage.offset + tree * (stage.pairs // count) + pair) + right
        place = first + (tree * leaves + row) * leaves + leaf
        entries.append((torch.where(exists, entry, one), torch.where(exists, entry + 2, one + 1)))
        places.append(torch.where(exists, place, nowhere))
    places.append(first + tree * leaves * leaves + leaf)
    rows = [torch.stack(row) for row in zip(*entries, strict=True)]
    return torch.stack(rows).flatten(2), torch.stack(places).flatten(1)

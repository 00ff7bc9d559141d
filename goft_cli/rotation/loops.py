"""The loops of `goft_cli.rotation.compiled`, which Numba compiles; imported when one of them runs.

LANES vectors are turned at a time: a tile (d, LANES) holds them transposed, so that a pair reads
and writes two rows of the tile, all lanes alike, and the compiler finds vector instructions.

Two things are as they are for the compiler's sake. Indices that vary fast are unsigned, for signed
ones may count from the end, which takes a test. And the rows of a pair come from a table: if they
were computed here, the test whether two rows overlap would be moved out of the loop over all pairs
of a stage, and answered with perhaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from goft_cli.rotation.compiled import LANES
from goft_cli.rotation.jit import (
    WORDS,
    carray,
    compiled,
    for_a_team,
    function_of_team,
    inlined,
    transpose,
)

Floats = NDArray[np.float32]
Pairs = NDArray[np.uint64]
Index = Any
"""An unsigned integer of Numba's."""
unsigned: Callable[[Any], Any] = np.uint64

_thread = function_of_team("omp_get_thread_num", types.intc)
_team_size = function_of_team("omp_get_num_threads", types.intc)  # or fewer than were asked for
_wait_for_team = function_of_team("GOMP_barrier", types.void)


@compiled
def _load(x: Floats, row: Index, count: Index, tile: Floats) -> None:
    """Count rows of x to the columns of a tile; zeros in lanes without a row."""
    width, step = unsigned(x.shape[1]), unsigned(WORDS)
    columns, lanes = width - width % step, count - count % step
    for lane in range(unsigned(0), lanes, step):
        for column in range(unsigned(0), columns, step):
            transpose(x, row + lane, column, tile, column, lane)
    for lane in range(count):
        for column in range(columns if lane < lanes else unsigned(0), width):
            tile[column, lane] = x[row + lane, column]
    for column in range(width):
        for lane in range(count, unsigned(LANES)):
            tile[column, lane] = 0


@compiled
def _store(tile: Floats, out: Floats, row: Index, count: Index) -> None:
    """The way back of `_load`."""
    width, step = unsigned(out.shape[1]), unsigned(WORDS)
    columns, lanes = width - width % step, count - count % step
    for lane in range(unsigned(0), lanes, step):
        for column in range(unsigned(0), columns, step):
            transpose(tile, column, lane, out, row + lane, column)
    for lane in range(count):
        for column in range(columns if lane < lanes else unsigned(0), width):
            out[row + lane, column] = tile[column, lane]


@inlined
def _turn(tile: Floats, i: Index, j: Index, a1: float, b1: float, a2: float, b2: float) -> None:
    """Rows i and j times [[a1, b1], [a2, b2]]."""
    for lane in range(unsigned(LANES)):
        first, second = tile[i, lane], tile[j, lane]
        tile[i, lane] = a1 * first + b1 * second
        tile[j, lane] = a2 * first + b2 * second


@compiled
def _climb(tile: Floats, pairs: Pairs, blocks: Floats) -> None:
    """R of all lanes: from the finest stage to the coarsest."""
    for k in range(len(pairs)):
        a1, b1, a2, b2 = blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3]
        _turn(tile, pairs[k, 0], pairs[k, 1], a1, b1, a2, b2)


@compiled
def _descend(tile: Floats, pairs: Pairs, blocks: Floats) -> None:
    """R^T of all lanes: transposed blocks, from the coarsest stage to the finest."""
    for k in range(len(pairs) - 1, -1, -1):
        a1, b1, a2, b2 = blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3]
        _turn(tile, pairs[k, 0], pairs[k, 1], a1, a2, b1, b2)


@compiled
def _descend_and_keep(
    tile: Floats, pairs: Pairs, blocks: Floats, firsts: Floats, seconds: Floats
) -> None:
    """As `_descend`; what the nth pair from the end is given goes to rows n.

    Rows taken backwards the compiler would take for rows that overlap.
    """
    for n in range(len(pairs)):
        k, row = len(pairs) - 1 - n, unsigned(n)
        i, j = pairs[k, 0], pairs[k, 1]
        a1, b1, a2, b2 = blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3]
        for lane in range(unsigned(LANES)):
            first, second = tile[i, lane], tile[j, lane]
            firsts[row, lane] = first
            seconds[row, lane] = second
            tile[i, lane] = a1 * first + a2 * second
            tile[j, lane] = b1 * first + b2 * second


@inlined
def _turn_back(
    grad: Floats,
    i: Index,
    j: Index,
    firsts: Floats,
    p: Index,
    seconds: Floats,
    q: Index,
    block: Floats,
    sums: Floats,
) -> None:
    """Through the transposed block of one pair.

    Args:
        grad: rows i and j, the gradients of what it gave; become those of what it was given.
        i: see grad.
        j: see grad.
        firsts: row p, one of the two rows that it was given.
        p: see firsts.
        seconds: row q, the other one.
        q: see seconds.
        block: (4,), a1, b1, a2, b2.
        sums: (4,), to which the gradients of these are added, summed over the lanes.
    """
    a1, b1, a2, b2 = block[0], block[1], block[2], block[3]
    of_a1 = of_b1 = of_a2 = of_b2 = a1 - a1
    for lane in range(unsigned(LANES)):
        above, below = grad[i, lane], grad[j, lane]
        first, second = firsts[p, lane], seconds[q, lane]
        of_a1 += first * above
        of_b1 += first * below
        of_a2 += second * above
        of_b2 += second * below
        grad[i, lane] = a1 * above + b1 * below
        grad[j, lane] = a2 * above + b2 * below
    sums[0] += of_a1
    sums[1] += of_b1
    sums[2] += of_a2
    sums[3] += of_b2


@compiled
def _turn_all_back(
    grad: Floats, x: Floats, pairs: Pairs, blocks: Floats, inputs: Floats, sums: Floats
) -> None:
    """Gradients through R^T of all lanes.

    Args:
        grad: tile of the gradient of R^T x; becomes that of x.
        x: tile of x; is lost.
        pairs: (d-1, 2), those of the finest stage first. No two of these share a row, so that what
            they are given is still in the tile of x when the others are done.
        blocks: (d-1, 4).
        inputs: (d, LANES), room for what the others are given.
        sums: (d-1, 4), to which the gradients of the blocks are added.
    """
    finest = len(x) // 2
    firsts, seconds = inputs[:finest], inputs[finest:]
    _descend_and_keep(x, pairs[finest:], blocks[finest:], firsts, seconds)
    for k in range(finest):
        i, j = pairs[k, 0], pairs[k, 1]
        _turn_back(grad, i, j, x, i, x, j, blocks[k], sums[k])
    for k in range(finest, len(pairs)):
        row = unsigned(len(pairs) - 1 - k)
        _turn_back(grad, pairs[k, 0], pairs[k, 1], firsts, row, seconds, row, blocks[k], sums[k])


@compiled
def _prepare(rotation: Floats, blocks: Floats) -> None:
    """Fill (d-1, 4), each a1, b1, a2, b2, from angles (d-1, 1) or blocks (d-1, 4)."""
    for k in range(len(rotation)):
        if rotation.shape[1] == 4:
            for entry in range(4):
                blocks[k, entry] = rotation[k, entry]
        else:
            cos, sin = math.cos(rotation[k, 0]), math.sin(rotation[k, 0])
            blocks[k, 0], blocks[k, 1], blocks[k, 2], blocks[k, 3] = cos, -sin, sin, cos


@compiled
def _collect(sums: Floats, blocks: Floats, gradient: Floats) -> None:
    """One thread's part of the gradient of the rotation.

    Args:
        sums: (shares, d-1, 4), gradients of the blocks.
        blocks: (d-1, 4).
        gradient: (d-1, 1) of angles or (d-1, 4) of blocks, written.
    """
    for k in range(_thread(), len(gradient), _team_size()):
        a1, b1, a2, b2 = sums[0, k, 0], sums[0, k, 1], sums[0, k, 2], sums[0, k, 3]
        for share in range(1, len(sums)):
            a1 += sums[share, k, 0]
            b1 += sums[share, k, 1]
            a2 += sums[share, k, 2]
            b2 += sums[share, k, 3]
        if gradient.shape[1] == 4:
            gradient[k, 0], gradient[k, 1], gradient[k, 2], gradient[k, 3] = a1, b1, a2, b2
        else:
            gradient[k, 0] = blocks[k, 0] * (a2 - b1) - blocks[k, 2] * (a1 + b2)


# What follows is called by each thread of a team, with a `compiled.Table`. All that it points to is
# contiguous. Nothing is allocated here: the system would map it, and clear it, anew each time.


@for_a_team
def turn(table: Any) -> None:  # noqa: ANN401 - a pointer
    """Shares of R^T x, if the flag is set, or of R x."""
    rows, width, numbers, size, shares, threads, transposed = carray(table[0], 7, np.int64)
    rotation = carray(table[1], (width - 1, numbers), np.float32)
    pairs = carray(table[2], (width - 1, 2), np.uint64)
    x = carray(table[3], (rows, width), np.float32)
    out = carray(table[4], (rows, width), np.float32)
    blocks = carray(table[5], (threads, width - 1, 4), np.float32)[_thread()]
    tile = carray(table[6], (threads, 3, width, LANES), np.float32)[_thread(), 0]
    _prepare(rotation, blocks)
    for share in range(_thread(), shares, _team_size()):
        stop = unsigned(min(rows, (share + 1) * size))
        for row in range(unsigned(share * size), stop, unsigned(LANES)):
            count = min(unsigned(LANES), stop - row)
            _load(x, row, count, tile)
            if transposed:
                _descend(tile, pairs, blocks)
            else:
                _climb(tile, pairs, blocks)
            _store(tile, out, row, count)


@for_a_team
def pullback(table: Any) -> None:  # noqa: ANN401 - a pointer
    """Shares of the gradient of x through R^T x, if the flag is set, and that of the rotation."""
    rows, width, numbers, size, shares, threads, wanted = carray(table[0], 7, np.int64)
    rotation = carray(table[1], (width - 1, numbers), np.float32)
    pairs = carray(table[2], (width - 1, 2), np.uint64)
    x = carray(table[3], (rows, width), np.float32)
    out = carray(table[4], (rows * wanted, width), np.float32)
    blocks = carray(table[5], (threads, width - 1, 4), np.float32)[_thread()]
    tiles = carray(table[6], (threads, 3, width, LANES), np.float32)[_thread()]
    grad = carray(table[7], (rows, width), np.float32)
    sums = carray(table[8], (shares, width - 1, 4), np.float32)
    gradient = carray(table[9], (width - 1, numbers), np.float32)
    _prepare(rotation, blocks)
    for share in range(_thread(), shares, _team_size()):
        for k in range(width - 1):
            for entry in range(4):
                sums[share, k, entry] = 0
        stop = unsigned(min(rows, (share + 1) * size))
        for row in range(unsigned(share * size), stop, unsigned(LANES)):
            count = min(unsigned(LANES), stop - row)
            _load(x, row, count, tiles[0])
            _load(grad, row, count, tiles[1])
            _turn_all_back(tiles[1], tiles[0], pairs, blocks, tiles[2], sums[share])
            if wanted:
                _store(tiles[1], out, row, count)
    _wait_for_team()
    _collect(sums, blocks, gradient)

"""How a warp turns a block of neighbouring coordinates in its registers.

Tiles are (ROWS, N), where N live coordinates of each row are left. The WITHIN finest stages act
among the few neighbours that one thread loaded: `tl.split` separates the first and the second
coordinates and `tl.join` joins them again, in that thread's registers. The ACROSS coarser stages
leave the coordinates in place: coordinate j reads its partner j ^ S from another lane.

Coefficients come as a binary heap (4, WIDTH) of a1, b1, a2, b2: with P pairs in a stage of the row
padded to WIDTH, a power of two, its pair k is entry P + k. Pairs that the padding adds are the
identity, so every width embeds exactly. `root` is the heap's entry of a block's root.

No two pairs have the same second coordinate, so values of the pairs are stored at it, one value
per coordinate.
"""

# Triton parses these functions: annotated arguments are compile-time constants, in capitals, and
# tuples grow only by addition. By Triton's own type hints none of its functions returns.
# ruff: noqa: ANN001, ANN201, ANN202, N803, RUF005
# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _halves(x):
    return tl.split(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)))


@triton.jit
def _interleave(first, second):
    return tl.reshape(tl.join(first, second), (first.shape[0], 2 * first.shape[1]))


@triton.jit
def _partner(x, S: tl.constexpr):
    """x[:, j ^ S]: the sum of both as integers, which wraps around, minus x[:, j]."""
    bits = tl.reshape(x.to(tl.int32, bitcast=True), (x.shape[0], x.shape[1] // (2 * S), 2, S))
    other = tl.sum(bits, 2, keep_dims=True) - bits
    return tl.reshape(other, x.shape).to(tl.float32, bitcast=True)


@triton.jit
def _load_pairs(at, WIDTH: tl.constexpr):
    """a1, b1, a2, b2."""
    return tl.load(at), tl.load(at + WIDTH), tl.load(at + 2 * WIDTH), tl.load(at + 3 * WIDTH)


@triton.jit
def load_stages(
    coef, root, D: tl.constexpr, WIDTH: tl.constexpr, WITHIN: tl.constexpr, ACROSS: tl.constexpr
):
    """The coefficients of a block of D, finest stage first.

    Within a thread: a1, b1, a2, b2, each (1, pairs). Across, for every live coordinate: the factors
    of itself, of its partner in R x and of its partner in R^T x, and whether it is second.
    """
    within, across = (), ()
    for stage in tl.static_range(WITHIN):
        pair = tl.arange(0, D >> (stage + 1))[None, :]
        at = coef + root * (D >> (stage + 1)) + pair
        within = within + (_load_pairs(at, WIDTH),)
    j = tl.arange(0, D >> WITHIN)[None, :]
    for stage in tl.static_range(ACROSS):
        live, second = j % (1 << stage) == 0, j % (2 << stage) == 1 << stage
        at = coef + root * (D >> (WITHIN + stage + 1)) + j // (2 << stage)
        a1, b1, a2, b2 = _load_pairs(at, WIDTH)
        own = tl.where(live, tl.where(second, b2, a1), 1.0)
        up = tl.where(live, tl.where(second, a2, b1), 0.0)
        down = tl.where(live, tl.where(second, b1, a2), 0.0)
        across = across + ((own, up, down, second),)
    return within, across


@triton.jit
def descend(x, stages, WITHIN: tl.constexpr, ACROSS: tl.constexpr):
    """R^T x of a block, and for each pair its first input."""
    within, across = stages
    seconds = ()
    for _ in tl.static_range(WITHIN):
        x, second = _halves(x)
        seconds = (second,) + seconds
    seen = x
    for stage in tl.static_range(ACROSS):
        own, _, down, is_second = across[ACROSS - 1 - stage]
        partner = _partner(x, 1 << (ACROSS - 1 - stage))
        seen = tl.where(is_second, partner, seen)
        x = own * x + down * partner
    for stage in tl.static_range(WITHIN):
        a1, b1, a2, b2 = within[WITHIN - 1 - stage]
        second, seen = seconds[stage], _interleave(seen, x)
        x = _interleave(a1 * x + a2 * second, b1 * x + b2 * second)
    return x, seen


@triton.jit
def ascend(x, stages, QUASI: tl.constexpr, WITHIN: tl.constexpr, ACROSS: tl.constexpr):
    """R x of a block, and for each pair its two inputs (quasi) or its two outputs (strict)."""
    within, across = stages
    done = ()
    for stage in tl.static_range(WITHIN):
        a1, b1, a2, b2 = within[stage]
        first, second = _halves(x)
        x, detail = a1 * first + b1 * second, a2 * first + b2 * second
        if not QUASI:
            first, second = x, detail
        done = ((detail, first, second),) + done
    first, second = x, x
    for stage in tl.static_range(ACROSS):
        own, up, _, is_second = across[stage]
        partner = _partner(x, 1 << stage)
        if QUASI:
            first, second = tl.where(is_second, partner, first), tl.where(is_second, x, second)
        else:  # at a second coordinate `own` is the cosine and `up` the sine
            first = tl.where(is_second, own * partner - up * x, first)
        x = own * x + up * partner
    if not QUASI:
        second = x
    for stage in tl.static_range(WITHIN):
        detail, one, two = done[stage]
        x, first, second = _interleave(x, detail), _interleave(first, one), _interleave(second, two)
    return x, first, second


@triton.jit
def load_path(coef, block, D: tl.constexpr, WIDTH: tl.constexpr, LEVELS: tl.constexpr):
    """The factors of a block's head, and the coordinates they multiply, from the root down."""
    path = ()
    for level in tl.static_range(LEVELS):
        node = block >> (LEVELS - 1 - level)
        at = coef + (1 << level) + node // 2 + node % 2 * WIDTH
        column = ((node | 1) << (LEVELS - 1 - level)) * D
        path = path + ((tl.load(at), tl.load(at + 2 * WIDTH), column),)
    return path


@triton.jit
def head_of_block(x, row, rows, d, path, LEVELS: tl.constexpr):
    """The first coordinate of a block after the stages among the blocks, (ROWS, 1)."""
    at = x + row.to(tl.int64) * d
    head = tl.load(at, mask=row < rows, other=0.0).to(tl.float32)
    for level in tl.static_range(LEVELS):
        own, other, column = path[level]
        # Not `(row < rows) & (column < d)`: Triton 3.9's interpreter makes integers of that.
        second = tl.load(at + column, mask=row < tl.where(column < d, rows, 0), other=0.0)
        head = own * head + other * second.to(tl.float32)
    return head

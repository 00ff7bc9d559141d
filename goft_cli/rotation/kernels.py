"""The fused kernels: a tile of rows is read once, takes every stage on chip and is written once.

Tensors on chip are (ROWS, N), where N live coordinates of each row are left. The finest stages,
WITHIN of them, act among the few neighbours that one thread loaded: `tl.split` takes the firsts and
the seconds apart and `tl.join` puts them back, all in that thread's registers. The coarser ACROSS
stages leave the remaining coordinates in place: coordinate j meets its partner j ^ S, wherever that
lives. Taking those apart too would send them through shared memory twice per stage.

Coefficients come as a binary heap, (2, D) for cos and sin or (4, D) for a1, b1, a2, b2: with P
pairs in a stage of the width padded to D, a power of two, its pair k is entry P + k. Pairs that the
padding adds are the identity, so every width embeds exactly. A tile hangs from the heap's entry
`root`, 1 where it is the whole row; `step` is the distance from one coefficient to the next.

Each pair is named by its second coordinate, which no other pair shares, so whatever is remembered
of the pairs, and the gradient of their coefficients, is one value per coordinate.
"""

# Triton reads these functions itself: what is annotated is a compile-time constant, in capitals,
# a branch on one must be an if with its else, and older releases know no recursion.
# ruff: noqa: ANN001, ANN201, ANN202, N803, RET505
# pyright: reportGeneralTypeIssues=false, reportPossiblyUnboundVariable=false

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
    """x[:, j ^ S]: the sum of the two as integers, which wraps round, less the own one."""
    bits = tl.reshape(x.to(tl.int32, bitcast=True), (x.shape[0], x.shape[1] // (2 * S), 2, S))
    other = tl.reduce(bits, 2, tl.standard._sum_combine, keep_dims=True) - bits
    return tl.reshape(other, x.shape).to(tl.float32, bitcast=True)


@triton.jit
def _coefficients(coef, root, P: tl.constexpr, step, QUASI: tl.constexpr, ACROSS: tl.constexpr):
    """a1, b1, a2, b2 of a stage with P pairs, (1, P)."""
    # A thread wants as many as it holds pairs; a wider load would have to be handed round.
    at = coef + tl.max_contiguous(tl.arange(0, P) + root * P, P >> ACROSS)[None, :]
    one = tl.load(at, eviction_policy="evict_last")
    two = tl.load(at + step, eviction_policy="evict_last")
    if QUASI:
        three = tl.load(at + 2 * step, eviction_policy="evict_last")
        four = tl.load(at + 3 * step, eviction_policy="evict_last")
        return one, two, three, four
    else:
        return one, -two, two, one


@triton.jit
def _weights(
    coef,
    root,
    N: tl.constexpr,
    S: tl.constexpr,
    step,
    QUASI: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):
    """What each of N coordinates takes of itself and of its partner, and whether it is second."""
    j = tl.arange(0, N)[None, :]
    live, second = j % S == 0, j % (2 * S) == S
    at = coef + root * (N // (2 * S)) + j // (2 * S)
    if QUASI:
        own = tl.load(at + tl.where(second, 3 * step, 0), mask=live, other=1.0)
        # b1 or a2 of the pair: the first coordinate takes a2 of the second in R^T x, b1 in R x.
        takes_b1 = second if TRANSPOSED else j % (2 * S) == 0
        other = tl.load(at + tl.where(takes_b1, step, 2 * step), mask=live, other=0.0)
    else:
        own = tl.load(at, mask=live, other=1.0)
        sin = tl.load(at + step, mask=live, other=0.0)
        other = tl.where(second, -sin, sin) if TRANSPOSED else tl.where(second, sin, -sin)
    return own, other, second


@triton.jit
def _grow(first, second, seen, coef, root, step, QUASI: tl.constexpr, ACROSS: tl.constexpr):
    """One stage of R^T x from both inputs of its pairs; remembers the first."""
    a1, b1, a2, b2 = _coefficients(coef, root, first.shape[1], step, QUASI, ACROSS)
    x = _interleave(a1 * first + a2 * second, b1 * first + b2 * second)
    return x, _interleave(seen, first)


@triton.jit
def _synthesis(
    x, coef, root, step, QUASI: tl.constexpr, WITHIN: tl.constexpr, ACROSS: tl.constexpr
):
    """R^T x, and for each pair the first input that it met."""
    if WITHIN > 0:
        x, finest = _halves(x)
    if WITHIN > 1:
        x, finer = _halves(x)
    if WITHIN > 2:
        x, fine = _halves(x)
    seen = x
    for stage in tl.static_range(ACROSS):
        own, other, second = _weights(
            coef, root, x.shape[1], x.shape[1] >> (stage + 1), step, QUASI, True
        )
        partner = _partner(x, x.shape[1] >> (stage + 1))
        seen = tl.where(second, partner, seen)
        x = own * x + other * partner
    if WITHIN > 2:
        x, seen = _grow(x, fine, seen, coef, root, step, QUASI, ACROSS)
    if WITHIN > 1:
        x, seen = _grow(x, finer, seen, coef, root, step, QUASI, ACROSS)
    if WITHIN > 0:
        x, seen = _grow(x, finest, seen, coef, root, step, QUASI, ACROSS)
    return x, seen


@triton.jit
def _fold(x, coef, root, step, QUASI: tl.constexpr, ACROSS: tl.constexpr):
    """One stage of R x: what stays live, what does not, and what to remember of its pairs."""
    first, second = _halves(x)
    a1, b1, a2, b2 = _coefficients(coef, root, first.shape[1], step, QUASI, ACROSS)
    live, detail = a1 * first + b1 * second, a2 * first + b2 * second
    if QUASI:
        return live, detail, first, second
    else:
        return live, detail, live, live


@triton.jit
def _analysis(x, coef, root, step, QUASI: tl.constexpr, WITHIN: tl.constexpr, ACROSS: tl.constexpr):
    """R x, and for each pair its first output (strict), or its first and its second input."""
    if WITHIN > 0:
        x, finest, seen1, kept1 = _fold(x, coef, root, step, QUASI, ACROSS)
    if WITHIN > 1:
        x, finer, seen2, kept2 = _fold(x, coef, root, step, QUASI, ACROSS)
    if WITHIN > 2:
        x, fine, seen3, kept3 = _fold(x, coef, root, step, QUASI, ACROSS)
    seen, kept = x, x
    for stage in tl.static_range(ACROSS):
        own, other, second = _weights(coef, root, x.shape[1], 1 << stage, step, QUASI, False)
        partner = _partner(x, 1 << stage)
        seen = tl.where(second, partner if QUASI else own * partner - other * x, seen)
        kept = tl.where(second, x, kept)
        x = own * x + other * partner
    if WITHIN > 2:
        x, seen, kept = _interleave(x, fine), _interleave(seen, seen3), _interleave(kept, kept3)
    if WITHIN > 1:
        x, seen, kept = _interleave(x, finer), _interleave(seen, seen2), _interleave(kept, kept2)
    if WITHIN > 0:
        x, seen, kept = _interleave(x, finest), _interleave(seen, seen1), _interleave(kept, kept1)
    return x, seen, kept


@triton.jit
def _tile(start, rows, d, column, ROWS: tl.constexpr):
    """Offsets (ROWS, D) of the elements from row start on, and which of them exist."""
    row = (start + tl.arange(0, ROWS))[:, None]
    return row.to(tl.int64) * d + column[None, :], (row < rows) & (column < d)[None, :]


@triton.jit
def _read(x, at, exists):
    return tl.load(x + at, mask=exists, other=0.0, eviction_policy="evict_first").to(tl.float32)


@triton.jit
def _store_sum(at, x):
    tl.store(at, tl.reduce(x, 0, tl.standard._sum_combine))


@triton.jit
def turn(
    x,
    coef,
    out,
    rows,
    d,
    TRANSPOSED: tl.constexpr,
    QUASI: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    WITHIN: tl.constexpr,
    ACROSS: tl.constexpr,
):
    """R^T x or R x of ROWS rows."""
    at, exists = _tile(tl.program_id(0) * ROWS, rows, d, tl.arange(0, D), ROWS)
    tile = _read(x, at, exists)
    if TRANSPOSED:
        tile, _ = _synthesis(tile, coef, 1, D, QUASI, WITHIN, ACROSS)
    else:
        tile, _, _ = _analysis(tile, coef, 1, D, QUASI, WITHIN, ACROSS)
    tl.store(out + at, tile, mask=exists)


@triton.jit
def pullback(
    x,
    grad,
    coef,
    grad_x,
    partial,
    heads,
    grad_heads,
    rows,
    d,
    QUASI: tl.constexpr,
    NEEDS_X: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    WITHIN: tl.constexpr,
    ACROSS: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """For y = R^T x: R grad, and this program's share of the gradient of the coefficients.

    With inputs (v, u) of a pair and (ga, gb) the gradient of its outputs, the gradient of a1, b1,
    a2, b2 is ga v, gb v, ga u, gb u. That of the angle, ga yb - gb ya, is a determinant, which the
    turn does not change: (R grad)_first u - (R grad)_second v.

    Rows too wide for one program are BLOCKS of D coordinates, and a program takes one block of each
    row. The stages among the blocks are left out: for the first coordinate of each block, what they
    make of x is read from heads (rows, blocks), what they have yet to turn goes to grad_heads.
    """
    block = tl.program_id(1)
    root = BLOCKS + block
    column = tl.arange(0, D)
    one = tl.full((ROWS, D), 0.0, tl.float32)
    two, three, four = one, one, one
    for start in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        at, exists = _tile(start, rows, d, block * D + column, ROWS)
        g, u = _read(grad, at, exists), _read(x, at, exists)
        g, seen, kept = _analysis(g, coef, root, D * BLOCKS, QUASI, WITHIN, ACROSS)
        if NEEDS_X:
            tl.store(grad_x + at, g, mask=exists)
        if BLOCKS > 1:
            head, given = _tile(start, rows, tl.num_programs(1), block + 0 * column, ROWS)
            given = given & (column == 0)[None, :]
            tl.store(grad_heads + head, g, mask=given)
            u = tl.where(given, tl.load(heads + head, mask=given, other=0.0), u)
        _, v = _synthesis(u, coef, root, D * BLOCKS, QUASI, WITHIN, ACROSS)
        if QUASI:
            one += seen * v
            two += kept * v
            three += seen * u
            four += kept * u
        else:
            one += seen * u - g * v
    kinds = 4 if QUASI else 1
    share = partial + (tl.program_id(0) * kinds * BLOCKS + block) * D + column
    _store_sum(share, one)
    if QUASI:
        _store_sum(share + BLOCKS * D, two)
        _store_sum(share + 2 * BLOCKS * D, three)
        _store_sum(share + 3 * BLOCKS * D, four)


@triton.jit
def _pair(j, d, D: tl.constexpr):
    """Of the pair whose second coordinate is j: its place in the schedule and in the heap."""
    stride = tl.where(j == 0, D, j & -j)
    number = j // (2 * stride)
    # The stages finer than this one left ceil(d / stride) coordinates live.
    return d - (d + stride - 1) // stride + number, D // (2 * stride) + number


@triton.jit
def spread(rotation, coef, d, pair_stride, kind_stride, D: tl.constexpr, WIDTH: tl.constexpr):
    """One kind of coefficient from the order of the schedule to the heap, with identities."""
    kind = tl.program_id(1)
    j = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    place, slot = _pair(j, d, D)
    identity = tl.where(kind % 3 == 0, 1.0, 0.0)
    given = (j > 0) & (j < d)
    at = rotation + place * pair_stride + kind * kind_stride
    tl.store(coef + kind * D + slot, tl.load(at, mask=given, other=identity), mask=j < D)


@triton.jit
def collect(
    partial, out, programs, d, kinds, D: tl.constexpr, DEPTH: tl.constexpr, WIDTH: tl.constexpr
):
    """The sum over programs of one kind of gradient, from coordinates to the schedule."""
    kind = tl.program_id(1)
    j = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    total = tl.full((WIDTH,), 0.0, tl.float32)
    for start in range(0, programs, DEPTH):
        program = (start + tl.arange(0, DEPTH))[:, None]
        at = partial + (program * kinds + kind) * D + j[None, :]
        share = tl.load(at, mask=(program < programs) & (j[None, :] < d), other=0.0)
        total += tl.reduce(share, 0, tl.standard._sum_combine)
    place, _ = _pair(j, d, D)
    tl.store(out + place * kinds + kind, total, mask=(j > 0) & (j < d))

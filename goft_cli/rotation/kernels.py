"""The fused kernels: each warp turns one block of neighbouring coordinates, row after row.

A row of d coordinates is cut into blocks of D. The stages with a stride below D act inside a block;
their coefficients are read once and stay in registers for all rows. The coarser stages act on the
first coordinates of the blocks, their heads: a rotation with one coordinate per block. In R^T x
(from the root down) a program computes only its own head, from one number of the row for each of
the LEVELS between the root and its block. In R x (up to the root) it writes its head for a second
launch, which turns the heads of all blocks as one block.

`goft_cli.rotation.warp` explains the constants and has the code that works in registers.
"""

# Triton parses these functions: annotated arguments are compile-time constants, in capitals.
# By Triton's own type hints none of its functions returns.
# ruff: noqa: ANN001, ANN202, N803
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from goft_cli.rotation.warp import ascend, descend, head_of_block, load_path, load_stages


@triton.jit(do_not_specialize=["rows"])
def synthesis(
    x,
    coef,
    out,
    rows,
    d,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    LEVELS: tl.constexpr,
    WITHIN: tl.constexpr,
    ACROSS: tl.constexpr,
) -> None:
    """Write R^T x to out, both (rows, d)."""
    blocks = tl.cdiv(d, D)
    block, program = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    stages = load_stages(coef, (1 << LEVELS) + block, D, WIDTH, WITHIN, ACROSS)
    path = load_path(coef, block, D, WIDTH, LEVELS)
    j = block * D + tl.arange(0, D)[None, :]
    hop = tl.num_programs(0) // blocks * ROWS
    # Two pipeline stages: the next rows are loaded while these are turned.
    for start in tl.range(program * ROWS, rows, hop, num_stages=2):
        row = (start + tl.arange(0, ROWS))[:, None]
        at, exists = row.to(tl.int64) * d + j, (row < rows) & (j < d)
        tile = tl.load(x + at, mask=exists, other=0.0).to(tl.float32)
        if LEVELS > 0:
            tile = tl.where(j == block * D, head_of_block(x, row, rows, d, path, LEVELS), tile)
        tile, _ = descend(tile, stages, WITHIN, ACROSS)
        tl.store(out + at, tile, mask=exists)


@triton.jit
def _store_heads(heads, tile, row, rows, j, block, blocks, D: tl.constexpr):
    """Write the first column of a tile to heads (rows, blocks)."""
    # Storing the column itself would send the whole tile through shared memory.
    head = tl.sum(tl.where(j == block * D, tile, 0.0), 1, keep_dims=True)
    tl.store(heads + row.to(tl.int64) * blocks + block, head, mask=row < rows)


@triton.jit(do_not_specialize=["rows"])
def analysis(
    x,
    coef,
    out,
    heads,
    rows,
    d,
    columns,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    LEVELS: tl.constexpr,
    WITHIN: tl.constexpr,
    ACROSS: tl.constexpr,
) -> None:
    """Write R x of x (rows, columns) to every STRIDE-th column of out (rows, d).

    With several blocks their first columns are not final yet: heads (rows, blocks) gets the input
    of the launch for the heads.
    """
    blocks = tl.cdiv(columns, D)
    block, program = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    stages = load_stages(coef, (1 << LEVELS) + block, D, WIDTH, WITHIN, ACROSS)
    j = block * D + tl.arange(0, D)[None, :]
    hop = tl.num_programs(0) // blocks * ROWS
    for start in tl.range(program * ROWS, rows, hop, num_stages=2):
        row = (start + tl.arange(0, ROWS))[:, None]
        at, exists = row.to(tl.int64) * columns + j, (row < rows) & (j < columns)
        tile = tl.load(x + at, mask=exists, other=0.0).to(tl.float32)
        tile, _, _ = ascend(tile, stages, True, WITHIN, ACROSS)
        tl.store(out + row.to(tl.int64) * d + j * STRIDE, tile, mask=exists)
        if LEVELS > 0:
            _store_heads(heads, tile, row, rows, j, block, blocks, D)


@triton.jit(do_not_specialize=["rows"])
def pullback(
    x,
    grad,
    coef,
    grad_x,
    heads,
    shares,
    rows,
    d,
    columns,
    QUASI: tl.constexpr,
    NEEDS_X: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    LEVELS: tl.constexpr,
    WITHIN: tl.constexpr,
    ACROSS: tl.constexpr,
) -> None:
    """For y = R^T x: R grad as in `analysis`, and each program's share of the pairs' gradient.

    With inputs (v, u) of a pair and (ga, gb) the gradient of its outputs, the gradient of a1, b1,
    a2, b2 is ga v, gb v, ga u, gb u. The gradient of the angle, ga yb - gb ya, is a determinant, so
    a rotation does not change it: (R grad)_first u - (R grad)_second v. The gradient is written to
    shares (programs, 1 or 4, d), at the second coordinate of the pair.
    """
    blocks = tl.cdiv(columns, D)
    block, program = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    stages = load_stages(coef, (1 << LEVELS) + block, D, WIDTH, WITHIN, ACROSS)
    path = load_path(coef, block, D, WIDTH, LEVELS)
    j = block * D + tl.arange(0, D)[None, :]
    one = tl.full((D,), 0.0, tl.float32)
    two, three, four = one, one, one
    hop = tl.num_programs(0) // blocks * ROWS
    for start in tl.range(program * ROWS, rows, hop, num_stages=2):
        row = (start + tl.arange(0, ROWS))[:, None]
        at, exists = row.to(tl.int64) * d + j * STRIDE, (row < rows) & (j < columns)
        g = tl.load(grad + row.to(tl.int64) * columns + j, mask=exists, other=0.0).to(tl.float32)
        u = tl.load(x + at, mask=exists, other=0.0).to(tl.float32)
        if LEVELS > 0:
            u = tl.where(j == block * D, head_of_block(x, row, rows, d, path, LEVELS), u)
        g, first, second = ascend(g, stages, QUASI, WITHIN, ACROSS)
        if NEEDS_X:
            tl.store(grad_x + at, g, mask=exists)
        if LEVELS > 0:
            _store_heads(heads, g, row, rows, j, block, blocks, D)
        _, v = descend(u, stages, WITHIN, ACROSS)
        if QUASI:
            one += tl.sum(first * v, 0)
            two += tl.sum(second * v, 0)
            three += tl.sum(first * u, 0)
            four += tl.sum(second * u, 0)
        else:
            one += tl.sum(first * u - second * v, 0)
    column = block * D + tl.arange(0, D)
    share = shares + program * (4 if QUASI else 1) * d + column * STRIDE
    tl.store(share, one, mask=column < columns)
    if QUASI:
        tl.store(share + d, two, mask=column < columns)
        tl.store(share + 2 * d, three, mask=column < columns)
        tl.store(share + 3 * d, four, mask=column < columns)


@triton.jit
def _name(j, d, WIDTH: tl.constexpr):
    """The index, in the schedule and in the heap, of the pair whose second coordinate is j."""
    stride = tl.where(j == 0, WIDTH, j & -j)
    number = j // (2 * stride)
    # The stages finer than this one left ceil(d / stride) coordinates live.
    return d - (d + stride - 1) // stride + number, WIDTH // (2 * stride) + number


@triton.jit
def prepare(
    rotation, coef, d, QUASI: tl.constexpr, WIDTH: tl.constexpr, SIZE: tl.constexpr
) -> None:
    """Write angles or blocks from the order of the schedule to the heap, padded with identities."""
    j = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    place, entry = _name(j, d, WIDTH)
    given = (j > 0) & (j < d)
    if QUASI:
        at = rotation + 4 * place
        a1 = tl.load(at, mask=given, other=1.0).to(tl.float32)
        b1 = tl.load(at + 1, mask=given, other=0.0).to(tl.float32)
        a2 = tl.load(at + 2, mask=given, other=0.0).to(tl.float32)
        b2 = tl.load(at + 3, mask=given, other=1.0).to(tl.float32)
    else:
        angle = tl.load(rotation + place, mask=given, other=0.0).to(tl.float32)
        a1, a2 = tl.cos(angle), tl.sin(angle)
        b1, b2 = -a2, a1
    tl.store(coef + entry, a1, mask=j < WIDTH)
    tl.store(coef + WIDTH + entry, b1, mask=j < WIDTH)
    tl.store(coef + 2 * WIDTH + entry, a2, mask=j < WIDTH)
    tl.store(coef + 3 * WIDTH + entry, b2, mask=j < WIDTH)


@triton.jit(do_not_specialize=["programs"])
def collect(
    shares, out, programs, d, kinds, WIDTH: tl.constexpr, DEPTH: tl.constexpr, SIZE: tl.constexpr
) -> None:
    """Sum the shares in a fixed order, and write them in the order of the schedule."""
    kind = tl.program_id(1)
    j = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    total = tl.full((SIZE,), 0.0, tl.float32)
    for start in range(0, programs, DEPTH):
        program = (start + tl.arange(0, DEPTH))[:, None]
        at = shares + (program * kinds + kind) * d + j[None, :]
        share = tl.load(at, mask=(program < programs) & (j[None, :] < d), other=0.0)
        total += tl.sum(share, 0)
    place, _ = _name(j, d, WIDTH)
    tl.store(out + place * kinds + kind, total, mask=(j > 0) & (j < d))

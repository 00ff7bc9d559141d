"""The tree cut into blocks, each a small matrix: one batched product for each tier.

Vectors are taken a few at a time, so that intermediate results stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from goft_cli.rotation.schedule import blocks_from, compute_dtype, rotation_gradient
from goft_cli.rotation.trees import Plan, Shapes, make_plan, tree_matrices, tree_pullback

Given = ParamSpec("Given")
Result = TypeVar("Result")

TILE_BYTES = 2**20
"""Bytes of the vectors taken at a time on a CPU."""

BLOCK = 16
"""Width of a block, a power of two."""

UNCUT = 64
"""A tree of at most this many leaves is one matrix."""

_PLANS: dict[tuple[int, torch.device, torch.dtype], Plan] = {}


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """True: every width, floating point type and device."""
    return True


def without_autocast(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Run a function without autocast, which would round its matrix products to a lower dtype."""

    @wraps(function)
    def exact(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        device = cast(Tensor, args[0]).device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return exact


@without_autocast
def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The matrices of each tier, the finest first, and the blocks (d-1, 2, 2) they are made of.

    The matrices are computed in float32 or wider and rounded to dtype once.
    """
    blocks = blocks_from(rotation, torch.promote_types(dtype, compute_dtype(rotation)))
    plan = _plan(blocks)
    return *plan.by_tier(tree_matrices(blocks, plan).to(dtype)), blocks


@without_autocast
def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (..., d)."""
    *tiers, _ = prepared
    whole = _whole(x, tiers[0])
    turned = whole.new_empty(whole.shape)
    for source, target in _by_block(tiers[0], whole, turned):
        target.copy_(torch.bmm(_inputs(source, tiers)[0], tiers[0]))
    return _cropped(turned, x)


@without_autocast
def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (..., d)."""
    *tiers, _ = prepared
    whole = _whole(x, tiers[0])
    turned = whole.new_empty(whole.shape)
    for source, target in _by_block(tiers[0], whole, turned):
        target.copy_(_inputs_and_result(source, tiers)[1])
    return _cropped(turned, x)


@without_autocast
def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`."""
    *tiers, blocks = prepared
    plan, (below, above) = _plan(blocks), (_whole(tensor, tiers[0]) for tensor in (x, grad))
    of_matrices, of_x = plan.zeros(blocks), below.new_empty(below.shape)
    sums = plan.by_tier(of_matrices)
    for source, upstream, target in _by_block(tiers[0], below, above, of_x):
        reached, turned = _inputs_and_result(upstream, tiers)
        for total, left, right in zip(sums, _inputs(source, tiers), reached, strict=True):
            total += torch.bmm(left.transpose(1, 2), right)
        if needs_x:
            target.copy_(turned)
    of_blocks = tree_pullback(blocks, plan, of_matrices)
    return _cropped(of_x, x) if needs_x else None, rotation_gradient(rotation, of_blocks)


def _whole(x: Tensor, tier: Tensor) -> Tensor:
    """Vectors (n, D): those of x (..., d), padded with zeros to whole blocks."""
    vectors = x.reshape(-1, x.shape[-1])
    missing = tier.shape[0] * tier.shape[1] - x.shape[-1]
    return F.pad(vectors, (0, missing)) if missing else vectors


def _cropped(whole: Tensor, x: Tensor) -> Tensor:
    """Vectors in the shape of x, without the padding of `_whole`."""
    return whole[:, : x.shape[-1]].reshape(x.shape)


def _by_block(tier: Tensor, *tensors: Tensor) -> Iterator[list[Tensor]]:
    """Views of tensors (n, d) as (trees, n, b), tile by tile."""
    for tile in _tiles(*tensors):
        yield [part.unflatten(1, (len(tier), -1)).transpose(0, 1) for part in tile]


def _tiles(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same few vectors of each tensor (n, d); together they are all vectors.

    On a CPU, tensors of a tile's size fit into the L2 cache, and the allocator reuses their memory.
    It maps larger tensors anew each time, and clearing their pages takes longer than the products
    that fill them. A GPU is faster with large kernels, and torch.compile needs one graph for any
    number of vectors: both get all vectors at once.
    """
    first = tensors[0]
    if first.device.type != "cpu" or torch.compiler.is_compiling():
        yield tensors
        return
    count = max(1, math.ceil(first.nbytes / TILE_BYTES))
    yield from zip(*(tensor.chunk(count) for tensor in tensors), strict=True)


def _inputs(leaves: Tensor, tiers: Sequence[Tensor]) -> list[Tensor]:
    """The inputs of each tier's product in R^T x, from this tier to the coarsest, (trees, n, b).

    The first are the leaves (the vectors by block) with turned heads, then those of coarser tiers.
    """
    inner = leaves.clone(memory_format=torch.contiguous_format)
    if len(tiers) == 1:
        return [inner]
    coarser = _inputs(_heads(inner, tiers[1]), tiers[1:])
    _heads(inner, tiers[1]).copy_(torch.bmm(coarser[0], tiers[1]))
    return [inner, *coarser]


def _inputs_and_result(leaves: Tensor, tiers: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The inputs of each tier's product in R x, and the result, (trees, n, b) each.

    The first are the leaves (the vectors by block), then the heads that enter the coarser tiers.
    """
    packed = leaves.contiguous()  # a transpose would take up to eight times as long to multiply
    turned = torch.bmm(packed, tiers[0].transpose(1, 2))
    if len(tiers) == 1:
        return [packed], turned
    heads = _heads(turned, tiers[1])
    reached, turned_heads = _inputs_and_result(heads, tiers[1:])
    heads.copy_(turned_heads)
    return [packed, *reached], turned


def _heads(leaves: Tensor, tier: Tensor) -> Tensor:
    """(trees, n, b) to the heads by block of the next tier (trees/b, n, b), a view."""
    return leaves[..., 0].unflatten(0, (len(tier), -1)).transpose(1, 2)


def _shapes(dim: int) -> Shapes:
    """Shapes of the tiers: blocks, then blocks of their heads, until one tree is left."""
    cuts = 0
    while math.ceil(dim / BLOCK**cuts) > UNCUT:
        cuts += 1
    root = math.ceil(dim / BLOCK**cuts)
    return *((root * BLOCK**cut, BLOCK, BLOCK) for cut in reversed(range(cuts))), (1, root, root)


def _plan(blocks: Tensor) -> Plan:
    """The plan of a width, made once; a dict because torch.compile warns of functools caches."""
    dim = len(blocks) + 1
    key = dim, blocks.device, blocks.dtype
    # Not for stand-ins without data, as under tracing: they cannot be mixed with real tensors.
    plan = _PLANS.get(key) if type(blocks) is Tensor else None
    if plan is None:
        with torch.inference_mode(False):
            plan = make_plan(dim, _shapes(dim), blocks.device, blocks.dtype)
        if type(plan.entries) is Tensor:
            _PLANS[key] = plan
    return plan

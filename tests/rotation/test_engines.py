"""Every engine gives the same rotation and gradients, and stores little for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from goft_cli.rotation import ENGINES, blocked, force_engine, rotate, rotate_transposed

Dense = Callable[[Tensor], Tensor]
Apply = Callable[[Tensor, Tensor], Tensor]

CPU = torch.device("cpu")
WIDTHS = [2, 3, 7, 33, 64, 65, 96, 97, 160, 768]
FEW_WIDTHS = [7, 97]
"""For dtypes narrower than the widest: their rounding does not depend on the cut into blocks."""
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
DIM = 96
here = [name for name in ENGINES if ENGINES[name].supports(DIM, torch.float32, CPU)]
# The widest dtype of each engine; an engine without float64 computes in float32.
WIDEST = {name: next(d for d in DTYPES if ENGINES[name].supports(DIM, d, CPU)) for name in here}

every_engine = pytest.mark.parametrize("engine", here)
in_float64 = pytest.mark.parametrize(
    "engine", [name for name in here if WIDEST[name] == torch.float64]
)
both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])
both_directions = pytest.mark.parametrize("apply", [rotate, rotate_transposed])


def random_rotation(kind: str, dim: int) -> Tensor:
    """Return float64 angles all round the circle, or blocks that stretch vectors a little."""
    generator = torch.Generator().manual_seed(dim)
    noise = torch.randn(dim - 1, 2, 2, generator=generator, dtype=torch.float64)
    return 2 * noise[:, 0, 0] if kind == "strict" else torch.eye(2).double() + noise / 10


def vectors(count: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def widths_of(engine: str, dtype: torch.dtype) -> list[int]:
    if engine == "fused":  # interpreted and slow here; the rest is in test_fused
        return [33] if dtype == WIDEST[engine] else []
    return WIDTHS if dtype == WIDEST[engine] else FEW_WIDTHS


def growth(rotation: Tensor) -> float:
    """Return a bound on the factor by which the stages lengthen a vector and its rounding error."""
    if rotation.dim() == 1:
        return 1
    stages = math.ceil(math.log2(len(rotation) + 1))
    largest = torch.linalg.matrix_norm(rotation.abs(), ord=2).max().item()
    return max(1, largest) ** stages


@pytest.mark.parametrize(
    ("engine", "dim", "dtype"),
    [
        (name, dim, dtype)
        for name in here
        for dtype in DTYPES
        for dim in widths_of(name, dtype)
        if ENGINES[name].supports(dim, dtype, CPU)
    ],
)
@both_kinds
def test_value_and_gradients_agree_with_the_dense_matrix(
    engine: str,
    dim: int,
    dtype: torch.dtype,
    kind: str,
    dense: Dense,
    tolerance: Callable[[torch.dtype, int], float],
) -> None:
    for apply in (rotate, rotate_transposed):
        check_against_dense(engine, dim, dtype, kind, apply, dense, tolerance)


def check_against_dense(
    engine: str,
    dim: int,
    dtype: torch.dtype,
    kind: str,
    apply: Apply,
    dense: Dense,
    tolerance: Callable[[torch.dtype, int], float],
) -> None:
    rotation = random_rotation(kind, dim).to(torch.promote_types(dtype, torch.float32))
    rotation.requires_grad_()
    x, upstream = (vectors(5, dim, seed).to(dtype) for seed in (1, 2))
    x.requires_grad_()
    with force_engine(engine):
        output = apply(x, rotation)
    found = torch.autograd.grad(output, (x, rotation), upstream)

    wide, exact = x.detach().double().requires_grad_(), rotation.detach().double().requires_grad_()
    matrix = dense(exact)
    expected_output = wide @ (matrix.T if apply is rotate else matrix)
    expected = torch.autograd.grad(expected_output, (wide, exact), upstream.double())

    bound = tolerance(dtype, dim) * growth(exact)
    lengths = wide.norm(dim=-1), upstream.double().norm(dim=-1)
    assert ((output.double() - expected_output).norm(dim=-1) <= bound * lengths[0]).all()
    assert ((found[0].double() - expected[0]).norm(dim=-1) <= bound * lengths[1]).all()
    # Each stage gives a vector of products of two rounded vectors; these are summed over rows.
    stages = math.ceil(math.log2(dim))
    products = 2 * bound * growth(exact) * math.sqrt(stages) * (lengths[0] * lengths[1]).sum()
    assert (found[1].double() - expected[1]).norm() <= products
    assert (output.dtype, found[0].dtype, found[1].dtype) == (dtype, dtype, rotation.dtype)


@in_float64
@both_kinds
@both_directions
def test_first_and_second_derivatives(engine: str, kind: str, apply: Apply) -> None:
    x = vectors(2, DIM, seed=1).requires_grad_()
    rotation = random_rotation(kind, DIM).requires_grad_()
    with force_engine(engine):
        assert gradcheck(apply, (x, rotation), fast_mode=True)
        # First derivatives are rounded differently when second derivatives are taken.
        assert gradgradcheck(apply, (x, rotation), fast_mode=True, nondet_tol=1e-12)


@every_engine
@both_directions
@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_each_gradient_alone_is_the_one_found_with_the_other(
    engine: str, apply: Apply, wanted: tuple[bool, bool]
) -> None:
    tensors = vectors(3, DIM, seed=1), random_rotation("quasi", DIM)
    both, alone = ([t.to(WIDEST[engine], copy=True) for t in tensors] for _ in range(2))
    with force_engine(engine):
        for leaves, wants in ((both, (True, True)), (alone, wanted)):
            for leaf, want in zip(leaves, wants, strict=True):
                leaf.requires_grad_(want)
            apply(*leaves).square().sum().backward()
    for leaf, reference, want in zip(alone, both, wanted, strict=True):
        assert (leaf.grad is not None) == want
        if leaf.grad is not None:
            bound = 500 * torch.finfo(leaf.dtype).eps
            torch.testing.assert_close(leaf.grad, reference.grad, rtol=bound, atol=bound)


def scaled(x: Tensor, rotation: Tensor) -> Tensor:
    """Return the transposed rotation of x, scaled by trainable factors."""
    scale = torch.full((DIM,), 2.0, requires_grad=True)
    return rotate_transposed(x, rotation, scale=scale)


@every_engine
@both_kinds
@pytest.mark.parametrize("apply", [rotate, rotate_transposed, scaled])
def test_backward_stores_the_vectors_and_nothing_else_per_vector(
    engine: str, kind: str, apply: Apply
) -> None:
    def stored(count: int) -> int:
        x = vectors(count, DIM, seed=1).to(WIDEST[engine]).requires_grad_()
        storages = {}

        def note(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), force_engine(engine):
            apply(x, rotation).sum()
        storages.pop(x.untyped_storage().data_ptr())
        return sum(storages.values())

    rotation = random_rotation(kind, DIM).requires_grad_()
    assert stored(2) == stored(40)


@every_engine
def test_the_same_twice_is_the_same_bit_by_bit(engine: str) -> None:
    def run() -> tuple[Tensor, ...]:
        x = vectors(20, DIM, seed=1).float().requires_grad_()
        rotation = random_rotation("quasi", DIM).float().requires_grad_()
        with force_engine(engine):
            output = rotate_transposed(x, rotation)
        return output, *torch.autograd.grad(output.square().sum(), (x, rotation))

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


@both_kinds
@both_directions
@pytest.mark.parametrize(
    ("block", "dim"), [(2, 2), (2, 24), (2, 25), (2, 32), (4, 49), (4, 63), (8, 64), (8, 65)]
)
def test_any_number_of_tiers_gives_the_same(
    block: int, dim: int, kind: str, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "BLOCK", block)
    monkeypatch.setattr(blocked, "UNCUT", block)
    monkeypatch.setattr(blocked, "_PLANS", {})
    assert_engines_agree(apply, random_rotation(kind, dim), vectors(5, dim, seed=1))


@both_kinds
@both_directions
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_tiles_are_put_together_again(
    count: int, kind: str, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "TILE_BYTES", 3 * DIM * 8)
    assert_engines_agree(apply, random_rotation(kind, DIM), vectors(count, DIM, seed=1))


def assert_engines_agree(apply: Apply, rotation: Tensor, x: Tensor) -> None:
    """Compare value and both gradients of the blocked engine with the staged one in float64."""
    found: list[tuple[Tensor, ...]] = []
    leaves = x.requires_grad_(), rotation.requires_grad_()
    for engine in ("blocked", "staged"):
        with force_engine(engine):
            output = apply(*leaves)
        found.append((output, *torch.autograd.grad(output.square().sum(), leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)

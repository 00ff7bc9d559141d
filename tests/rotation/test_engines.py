"""Every engine computes the same rotation and the same gradients, and stores little for them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from goft_cli.rotation import (
    ENGINES,
    blocked,
    compiled,
    force_engine,
    rotate,
    rotate_transposed,
    tiles,
)
from goft_cli.rotation.engines import choose_engine

Dense = Callable[[Tensor], Tensor]
Apply = Callable[[Tensor, Tensor], Tensor]

CPU = torch.device("cpu")
WIDTHS = [2, 3, 7, 33, 64, 65, 96, 97, 160, 768]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
DIM = 96
here = [name for name in ENGINES if ENGINES[name].supports(DIM, torch.float32, CPU)]
# The widest dtype of each; an engine without float64 has its own arithmetic in float32.
WIDEST = {name: next(d for d in DTYPES if ENGINES[name].supports(DIM, d, CPU)) for name in here}
INTERPRETED = [3, 33, 97]
"""Widths for the fused engine, whose kernels Triton interprets here, and takes its time over."""

every_engine = pytest.mark.parametrize("engine", here)
in_float64 = pytest.mark.parametrize(
    "engine", [name for name in here if WIDEST[name] == torch.float64]
)
needs_loops = pytest.mark.skipif(not compiled.available(), reason="needs a C compiler and OpenMP")
both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])
both_directions = pytest.mark.parametrize("apply", [rotate, rotate_transposed])


def random_rotation(kind: str, dim: int) -> Tensor:
    """Angles all round the circle, or blocks that stretch a little, in float64."""
    generator = torch.Generator().manual_seed(dim)
    noise = torch.randn(dim - 1, 2, 2, generator=generator, dtype=torch.float64)
    return 2 * noise[:, 0, 0] if kind == "strict" else torch.eye(2).double() + noise / 10


def vectors(count: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def growth(rotation: Tensor) -> float:
    """How much longer at most the stages make a vector, its rounding included."""
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
        for dim in (INTERPRETED if name == "fused" else WIDTHS)
        for dtype in DTYPES
        if ENGINES[name].supports(dim, dtype, CPU)
    ],
)
@both_kinds
@both_directions
def test_value_and_gradients_agree_with_the_dense_matrix(
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
    # At each stage a vector of products of two such vectors, both rounded; summed over vectors.
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
        # First derivatives are rounded otherwise where second ones are to be taken.
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


@every_engine
@both_kinds
@both_directions
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
    monkeypatch.setattr(tiles, "TILE_BYTES", 3 * DIM * 8)
    assert_engines_agree(apply, random_rotation(kind, DIM), vectors(count, DIM, seed=1))


def assert_engines_agree(apply: Apply, rotation: Tensor, x: Tensor) -> None:
    """Blocked against staged in float64: value and both gradients."""
    found: list[tuple[Tensor, ...]] = []
    leaves = x.requires_grad_(), rotation.requires_grad_()
    for engine in ("blocked", "staged"):
        with force_engine(engine):
            output = apply(*leaves)
        found.append((output, *torch.autograd.grad(output.square().sum(), leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@needs_loops
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_cpu_is_given_the_compiled_engine(dtype: torch.dtype) -> None:
    assert choose_engine(torch.empty(1, 3, dtype=dtype)) == "compiled"
    assert choose_engine(torch.empty(64, 97, dtype=dtype)) == "compiled"


@needs_loops
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_is_recorded_or_has_no_memory_is_left_to_the_blocked_engine() -> None:
    names: list[str] = []

    def traced(x: Tensor) -> Tensor:
        names.append(choose_engine(x))
        return x + 1

    with FakeTensorMode():
        names.append(choose_engine(torch.empty(64, DIM)))
    torch.jit.trace(traced, torch.empty(64, DIM), check_trace=False)
    names.append(choose_engine(torch.empty(64, DIM).double()))
    names.append(choose_engine(torch.empty(64, DIM, device="meta")))
    assert names == ["blocked"] * 4


@every_engine
def test_the_default_device_is_not_asked(engine: str) -> None:
    dim = 43  # of no other test, so that nothing is known of it
    rotation = random_rotation("strict", dim).float().requires_grad_()
    x = vectors(5, dim, seed=1).float()
    found: list[Tensor] = []
    for device in ("meta", "cpu"):
        with torch.device(device), force_engine(engine):
            found += torch.autograd.grad(rotate(x, rotation).sum(), rotation)
    assert torch.equal(*found)


def test_what_is_forced_innermost_decides() -> None:
    x = torch.empty(1, DIM)
    best = choose_engine(x)
    with force_engine("staged"):
        assert choose_engine(x) == "staged"
        with force_engine("auto"):
            assert choose_engine(x) == best
    assert choose_engine(x) == best


def test_an_engine_that_cannot_or_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocked, "supports", lambda dim, dtype, device: dim != 97)
    with (
        force_engine("blocked"),
        pytest.raises(ValueError, match=r"engine blocked cannot turn vectors of 97 in torch.float"),
    ):
        rotate(torch.zeros(3, 97), torch.zeros(96))
    with pytest.raises(ValueError, match=r"quick is unknown; choose one of auto, staged"):
        force_engine("quick").__enter__()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "says"),
    [("staged", "staged"), ("blocked", "blocked"), ("quick", "GOFT_ENGINE=quick is unknown")],
)
def test_the_environment_forces_an_engine(value: str, says: str) -> None:
    program = (
        "import torch; from goft_cli.rotation.engines import choose_engine\n"
        "print(choose_engine(torch.empty(1, 96)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "GOFT_ENGINE": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in done.stdout + done.stderr

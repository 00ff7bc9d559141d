"""The fused kernels against the dense float64 matrix, in Triton's interpreter on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from goft_cli.rotation import fused

pytest.importorskip("triton", reason="the fused kernels need Triton")

Magnitude = Callable[[Tensor], Tensor]
Draw = Callable[..., Tensor]
Tolerance = Callable[[torch.dtype, int], float]

CPU = torch.device("cpu")
KERNELS = "goft_cli.rotation.kernels"

both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])


@pytest.fixture(scope="module", autouse=True)
def interpreter() -> Iterator[None]:
    """Kernels decorated while the variable is set are interpreted: here, and only here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.delitem(sys.modules, KERNELS, raising=False)
        patch.setattr(fused, "_healthy", {})
        yield
        sys.modules.pop(KERNELS, None)


def vectors(count: int, dim: int, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator).to(dtype)


def assert_close(found: Tensor, expected: Tensor, bound: Tensor) -> None:
    assert found.shape == expected.shape
    assert ((found.double() - expected).flatten(1).norm(dim=1) <= bound).all()


def matrix_of(rotation: Tensor) -> Tensor:
    """R from the definition, pair by pair, differentiable."""
    dim = len(rotation) + 1
    if rotation.dim() == 1:
        cos, sin = rotation.cos(), rotation.sin()
        rotation = torch.stack((cos, -sin, sin, cos), dim=-1).view(-1, 2, 2)
    rows, live, used = list(torch.eye(dim, dtype=rotation.dtype)), list(range(dim)), 0
    while len(live) > 1:
        for i, j in zip(live[0::2], live[1::2], strict=False):
            rows[i], rows[j] = rotation[used] @ torch.stack((rows[i], rows[j]))
            used += 1
        live = live[0::2]
    return torch.stack(rows)


def check(x: Tensor, rotation: Tensor, magnitude: Magnitude, tolerance: Tolerance) -> None:
    """Both directions and the pullback, each against the dense matrix and its derivative."""
    dim, wide = x.shape[1], x.double()
    grad = vectors(len(x), dim, x.dtype, seed=9)
    learnt = rotation.double().requires_grad_()
    matrix = matrix_of(learnt)
    sizes = torch.eye(dim, dtype=torch.float64) if rotation.dim() == 1 else magnitude(rotation)
    size_x = (wide.abs() @ sizes).norm(dim=1)
    size_grad = (grad.double().abs() @ sizes.T).norm(dim=1)
    (expected,) = torch.autograd.grad((wide @ matrix * grad.double()).sum(), learnt)
    matrix = matrix.detach()

    prepared = fused.prepare(rotation, x.dtype)
    turned, back = fused.synthesis(x, prepared), fused.analysis(x, prepared)
    grad_x, grad_rotation = fused.pullback(x, grad, rotation, prepared, needs_x=True)
    assert grad_x is not None
    assert turned.dtype == back.dtype == grad_x.dtype == x.dtype
    assert grad_rotation.dtype == torch.float32

    bound = tolerance(x.dtype, dim)
    assert_close(turned, wide @ matrix, bound * size_x)
    assert_close(back, wide @ matrix.T, bound * (wide.abs() @ sizes.T).norm(dim=1))
    assert_close(grad_x, grad.double() @ matrix.T, bound * size_grad)
    # Each row adds at most the product of the norms, rounded in float32 whatever x is stored in.
    bound = tolerance(torch.float32, dim) * (size_x @ size_grad)
    assert grad_rotation.shape == expected.shape
    assert ((grad_rotation - expected).abs() <= bound).all()


@both_kinds
@pytest.mark.parametrize("dim", [2, 3, 7, 8, 12, 33, 48, 96, 130, 768])
def test_agrees_with_the_dense_matrix(
    kind: str, dim: int, draw: Draw, magnitude: Magnitude, tolerance: Tolerance
) -> None:
    x = vectors(5, dim, torch.float32, seed=1)
    check(x, draw(kind, dim).float(), magnitude, tolerance)


@both_kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [2, 7, 48, 130])
def test_rounds_once_to_the_dtype_of_x(
    kind: str,
    dim: int,
    dtype: torch.dtype,
    draw: Draw,
    magnitude: Magnitude,
    tolerance: Tolerance,
) -> None:
    check(vectors(5, dim, dtype, seed=1), draw(kind, dim).float(), magnitude, tolerance)


@both_kinds
@pytest.mark.parametrize(("count", "dim"), [(1, 96), (150, 48), (200, 65)])
def test_any_number_of_rows(
    kind: str,
    count: int,
    dim: int,
    draw: Draw,
    magnitude: Magnitude,
    tolerance: Tolerance,
) -> None:
    x = vectors(count, dim, torch.float32, seed=2)
    check(x, draw(kind, dim).float(), magnitude, tolerance)


@both_kinds
@pytest.mark.parametrize("dim", [33, 64, 130, 200])
def test_rows_wider_than_a_program_are_taken_in_blocks(
    kind: str,
    dim: int,
    draw: Draw,
    magnitude: Magnitude,
    tolerance: Tolerance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "WIDEST_STRICT", 32)
    monkeypatch.setattr(fused, "WIDEST_QUASI", 16)
    x = vectors(70, dim, torch.bfloat16, seed=3)
    check(x, draw(kind, dim).float(), magnitude, tolerance)


def test_blocks_need_not_be_invertible(
    draw: Draw, magnitude: Magnitude, tolerance: Tolerance
) -> None:
    rotation = draw("quasi", 48).float()
    rotation[::3] = 0
    rotation[1::3, 1] = rotation[1::3, 0]
    check(vectors(5, 48, torch.float32, seed=4), rotation, magnitude, tolerance)


@both_kinds
def test_no_rows(kind: str, draw: Draw) -> None:
    rotation, x = draw(kind, 12).float(), torch.empty(0, 12, dtype=torch.bfloat16)
    prepared = fused.prepare(rotation, x.dtype)
    assert fused.synthesis(x, prepared).shape == fused.analysis(x, prepared).shape == x.shape
    grad_x, grad_rotation = fused.pullback(x, x, rotation, prepared, needs_x=True)
    assert grad_x is not None
    assert grad_x.shape == x.shape
    assert torch.equal(grad_rotation, torch.zeros_like(rotation))


@both_kinds
def test_strides_do_not_matter(kind: str, draw: Draw) -> None:
    rotation = draw(kind, 12).float()
    prepared = fused.prepare(rotation, torch.float32)
    wide = vectors(12, 10, torch.float32, seed=5)
    grad = vectors(10, 12, torch.float32, seed=6)
    for x in (wide.T, wide.T[::2], wide.flip(0).T, wide[:, 0].expand(10, 12)):
        packed, upstream = x.contiguous(), grad[: len(x)]
        assert torch.equal(fused.synthesis(x, prepared), fused.synthesis(packed, prepared))
        assert torch.equal(fused.analysis(x, prepared), fused.analysis(packed, prepared))
        found = fused.pullback(x, upstream, rotation, prepared, needs_x=False)
        expected = fused.pullback(packed, upstream, rotation, prepared, needs_x=False)
        assert found[0] is None
        assert torch.equal(found[1], expected[1])


@both_kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_inputs_give_the_same_bits(kind: str, dtype: torch.dtype, draw: Draw) -> None:
    rotation, x = draw(kind, 33).float(), vectors(150, 33, dtype, seed=7)
    prepared = fused.prepare(rotation, dtype)
    first, again = (fused.pullback(x, x.flip(0), rotation, prepared, True) for _ in range(2))
    assert first[0] is not None
    assert again[0] is not None
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("dim", [2, 12, 33])
def test_no_rotation_leaves_every_bit(dim: int) -> None:
    x = vectors(5, dim, torch.float32, seed=8)
    for start in (torch.zeros(dim - 1), torch.eye(2).repeat(dim - 1, 1, 1)):
        prepared = fused.prepare(start, x.dtype)
        assert torch.equal(fused.synthesis(x, prepared), x)
        assert torch.equal(fused.analysis(x, prepared), x)


@both_kinds
def test_operators_are_opaque_and_complete(kind: str, draw: Draw) -> None:
    rotation, x = draw(kind, 12).float(), vectors(3, 12, torch.bfloat16, seed=1)
    (coef,) = fused.prepare(rotation, x.dtype)
    checks = ("test_schema", "test_faketensor")
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (torch.ops.goft.prepare, (rotation,)),
        (torch.ops.goft.turn, (x, coef, True)),
        (torch.ops.goft.pullback, (x, x, coef, True)),
        (torch.ops.goft.pullback, (x, x, coef, False)),
    ]
    for operator, arguments in calls:
        torch.library.opcheck(operator.default, arguments, test_utils=checks)


def test_compiles_as_one_graph_and_checks_the_device_outside_of_it(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_healthy", {})

    def turn(x: Tensor, rotation: Tensor) -> Tensor:
        if not fused.supports(x.shape[1], x.dtype, x.device):
            return x
        return fused.synthesis(x, fused.prepare(rotation, x.dtype))

    rotation, x = draw("strict", 12).float(), vectors(3, 12, torch.float32, seed=1)
    compiled: Any = torch.compile(turn, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, rotation), turn(x, rotation))
    assert not torch.equal(compiled(x, rotation), x)


@pytest.mark.parametrize("dim", [2, 768, fused.MAX_DIM])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_supports_what_fits(dim: int, dtype: torch.dtype) -> None:
    assert fused.supports(dim, dtype, CPU)


@pytest.mark.parametrize(
    ("dim", "dtype", "device"),
    [
        (1, torch.float32, "cpu"),
        (fused.MAX_DIM + 1, torch.float32, "cpu"),
        (8, torch.float64, "cpu"),
        (8, torch.float32, "meta"),
    ],
)
def test_leaves_the_rest_to_others(dim: int, dtype: torch.dtype, device: str) -> None:
    assert not fused.supports(dim, dtype, torch.device(device))


def test_is_not_for_the_cpu_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fused.available(CPU)
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not fused.available(CPU)


def test_a_wrong_kernel_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sabotaged:
        """The turn the other way round."""

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            launch = turn[grid]
            return lambda *args, TRANSPOSED, **more: launch(  # noqa: N803 - the kernel's name
                *args, TRANSPOSED=not TRANSPOSED, **more
            )

    kernels: ModuleType = fused._kernels()
    turn = kernels.turn
    monkeypatch.setattr(fused, "_healthy", {})
    monkeypatch.setattr(kernels, "turn", Sabotaged())
    with pytest.warns(RuntimeWarning, match=r"strict R\^T x is off by .* another engine is used"):
        assert not fused.available(CPU)
    assert not fused.available(CPU)
    assert not fused.supports(8, torch.float32, CPU)


def test_a_failing_compiler_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> ModuleType:
        raise RuntimeError("no ptxas")

    monkeypatch.setattr(fused, "_healthy", {})
    monkeypatch.setattr(fused, "_kernels", fail)
    with pytest.warns(RuntimeWarning, match="RuntimeError: no ptxas on cpu"):
        assert not fused.available(CPU)


@pytest.mark.parametrize("kernel", ["turn", "pullback"])
def test_tiles_are_powers_of_two(kernel: Literal["turn", "pullback"]) -> None:
    for power in range(1, 15):
        for number in fused.tile(2**power, kernel):
            assert number > 0
            assert number & (number - 1) == 0

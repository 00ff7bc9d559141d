"""The fused kernels agree with float64: interpreted on any machine, compiled on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from goft_cli.rotation import fused, rotate_transposed, staged
from goft_cli.rotation.self_check import results

pytest.importorskip("triton", reason="the fused kernels need Triton")

Dense = Callable[[Tensor], Tensor]
Draw = Callable[..., Tensor]
Tolerance = Callable[[torch.dtype, int], float]

CPU = torch.device("cpu")
NARROW = [2, 3, 7, 8, 33, 64, 97, 100]

both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])


def vectors(count: int, dim: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator).to(dtype)


def of_dense(x: Tensor, grad: Tensor, rotation: Tensor, dense: Dense) -> dict[str, Tensor]:
    """Return the results of an engine, computed with the dense matrix and its derivative."""
    x, grad, learnt = x.double(), grad.double(), rotation.double().requires_grad_()
    matrix = dense(learnt)
    (grad_rotation,) = torch.autograd.grad((x @ matrix * grad).sum(), learnt)
    matrix = matrix.detach()
    values = x @ matrix, x @ matrix.T, grad @ matrix.T, grad_rotation
    return dict(zip(results(staged, x, grad, rotation.double()), values, strict=True))


def of_staged(x: Tensor, grad: Tensor, rotation: Tensor) -> dict[str, Tensor]:
    return results(staged, x.double(), grad.double(), rotation.double())


def sizes(x: Tensor, grad: Tensor, rotation: Tensor) -> dict[str, Tensor]:
    """Return the scale of each row's rounding error: its norm, or the blocks' magnitudes."""
    if rotation.dim() == 3:
        found = of_staged(x.abs(), grad.abs(), rotation.abs())
    else:
        found = {"R^T x": x, "R x": x, "gradient of x": grad}
    names = "R^T x", "R x", "gradient of x"
    return {name: found[name].double().norm(dim=1, keepdim=True) for name in names}


def check(
    found: dict[str, Tensor],
    expected: dict[str, Tensor],
    case: tuple[Tensor, Tensor, Tensor],
    tolerance: Tolerance,
) -> None:
    """Check that the arithmetic is in float32 for any dtype of x, and results are rounded once."""
    (x, _, _), size = case, sizes(*case)
    inside = tolerance(torch.float32, x.shape[1])
    for name, scale in size.items():
        assert found[name].dtype == x.dtype
        error = (found[name].double().cpu() - expected[name]).abs()
        rounding = torch.finfo(x.dtype).eps * expected[name].abs() + torch.finfo(x.dtype).tiny
        assert (error <= rounding + inside * scale).all(), name
    # Each row adds a product of one number from either side; the errors have independent signs.
    product = (size["R^T x"] * size["gradient of x"]).norm()
    gradient = found["gradient of the rotation"]
    assert gradient.dtype == torch.float32
    error = (gradient.double().cpu() - expected["gradient of the rotation"]).abs()
    assert (error <= inside * product).all()


@both_kinds
@pytest.mark.parametrize("dim", [*NARROW, 768])
def test_agrees_with_the_dense_matrix(
    kind: str, dim: int, draw: Draw, dense: Dense, tolerance: Tolerance
) -> None:
    case = vectors(2, dim), vectors(2, dim, seed=2), draw(kind, dim).float()
    check(results(fused, *case), of_dense(*case, dense), case, tolerance)


@both_kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [7, 96])
def test_rounds_once_to_the_dtype_of_x(
    kind: str, dim: int, dtype: torch.dtype, draw: Draw, dense: Dense, tolerance: Tolerance
) -> None:
    case = vectors(3, dim, dtype), vectors(3, dim, dtype, seed=2), draw(kind, dim).float()
    check(results(fused, *case), of_dense(*case, dense), case, tolerance)


@pytest.mark.parametrize(
    ("count", "dim", "kind"),
    [
        (1, 1100, "quasi"),
        (1, 2049, "strict"),
        (1, 96, "strict"),
        (40, 48, "quasi"),
        (9, 65, "quasi"),
    ],
)
def test_any_number_of_blocks_and_rows(
    count: int, dim: int, kind: str, draw: Draw, tolerance: Tolerance
) -> None:
    case = vectors(count, dim), vectors(count, dim, seed=2), draw(kind, dim).float()
    check(results(fused, *case), of_staged(*case), case, tolerance)


@pytest.mark.parametrize(("kind", "dim"), [("strict", 33), ("quasi", 100)])
def test_the_width_of_a_block_does_not_matter(
    kind: str, dim: int, draw: Draw, tolerance: Tolerance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "BLOCK", 16)
    case = vectors(2, dim), vectors(2, dim, seed=2), draw(kind, dim).float()
    check(results(fused, *case), of_staged(*case), case, tolerance)


def test_blocks_need_not_be_invertible(draw: Draw, tolerance: Tolerance) -> None:
    rotation = draw("quasi", 48).float()
    rotation[::3] = 0
    rotation[1::3, 1] = rotation[1::3, 0]
    case = vectors(5, 48), vectors(5, 48, seed=2), rotation
    check(results(fused, *case), of_staged(*case), case, tolerance)


@both_kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_rotation_may_have_any_dtype(kind: str, dtype: torch.dtype, draw: Draw) -> None:
    rotation = draw(kind, 12).to(dtype)
    case = vectors(3, 12), vectors(3, 12, seed=2)
    found, expected = results(fused, *case, rotation), results(fused, *case, rotation.float())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@both_kinds
def test_no_rows(kind: str, draw: Draw) -> None:
    rotation, x = draw(kind, 12).float(), vectors(0, 12, torch.bfloat16)
    found = results(fused, x, x, rotation)
    assert found["R^T x"].shape == found["R x"].shape == found["gradient of x"].shape == x.shape
    assert torch.equal(found["gradient of the rotation"], torch.zeros_like(rotation))


@both_kinds
def test_strides_do_not_matter(kind: str, draw: Draw) -> None:
    rotation, wide = draw(kind, 12).float(), vectors(12, 10)
    for x in (wide.T, wide.T[::2], wide[:, 0].expand(10, 12)):
        grad = vectors(12, len(x), seed=2).T
        found = results(fused, x, grad, rotation)
        expected = results(fused, x.contiguous(), grad.contiguous(), rotation)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@both_kinds
def test_the_gradient_of_the_rotation_alone_is_the_same(kind: str, draw: Draw) -> None:
    rotation, x = draw(kind, 33).float(), vectors(5, 33)
    prepared = fused.prepare(rotation, x.dtype)
    (_, both), (nothing, alone) = (
        fused.pullback(x, x.flip(0), rotation, prepared, needs_x) for needs_x in (True, False)
    )
    assert nothing is None
    assert torch.equal(alone, both)


@pytest.mark.parametrize("dim", [2, 12, 33])
def test_no_rotation_leaves_every_bit(dim: int) -> None:
    x = vectors(5, dim)
    for start in (torch.zeros(dim - 1), torch.eye(2).repeat(dim - 1, 1, 1)):
        prepared = fused.prepare(start, x.dtype)
        assert torch.equal(fused.synthesis(x, prepared), x)
        assert torch.equal(fused.analysis(x, prepared), x)


@both_kinds
def test_operators_are_opaque_and_complete(kind: str, draw: Draw) -> None:
    rotation, x = draw(kind, 12).float(), vectors(3, 12, torch.bfloat16)
    (coef,) = fused.prepare(rotation, x.dtype)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (torch.ops.goft.prepare, (rotation,)),
        (torch.ops.goft.turn, (x, coef, True)),
        (torch.ops.goft.turn, (x, coef, False)),
        (torch.ops.goft.pullback, (x, x, coef, kind == "quasi", True)),
        (torch.ops.goft.pullback, (x, x, coef, kind == "quasi", False)),
    ]
    for operator, arguments in calls:
        utilities = ("test_schema", "test_faketensor")
        torch.library.opcheck(operator.default, arguments, test_utils=utilities)


@pytest.mark.gpu
@both_kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("count", "dim"),
    [(4096, 768), (4096, 3072), (4096, 4096), (1024, 16384), (300, 11008), (77, 1000), (513, 33)],
)
def test_agrees_with_float64_on_a_gpu(
    count: int,
    dim: int,
    dtype: torch.dtype,
    kind: str,
    cuda: torch.device,
    draw: Draw,
    tolerance: Tolerance,
) -> None:
    case = vectors(count, dim, dtype), vectors(count, dim, dtype, seed=2), draw(kind, dim).float()
    there = [tensor.to(cuda) for tensor in case]
    found, again = results(fused, *there), results(fused, *there)
    assert all(torch.equal(found[name], again[name]) for name in found)
    check(found, of_staged(*case), case, tolerance)


@pytest.mark.gpu
def test_a_gpu_is_given_the_fused_engine(
    cuda: torch.device, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Tensor:
        raise RuntimeError("the fused engine was chosen")

    monkeypatch.setattr(fused, "synthesis", refuse)
    with pytest.raises(RuntimeError, match="the fused engine was chosen"):
        rotate_transposed(vectors(100, 768).to(cuda), draw("strict", 768).float().to(cuda))

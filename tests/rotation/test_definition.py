"""Rotations agree with the dense float64 matrix, keep norms and have determinant one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from goft_cli.rotation import angles_from, quasi_penalty, rotate, rotate_transposed, schedule

Dense = Callable[[Tensor], Tensor]
Draw = Callable[..., Tensor]
Tolerance = Callable[[torch.dtype, int], float]

KINDS = ["strict", "quasi"]
dims = st.integers(1, 140)
seeds = st.integers(0, 2**31)


def vectors(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_agrees(found: Tensor, expected: Tensor, size: Tensor, bound: float) -> None:
    """Check for each row that the error's norm is at most `bound` times the norm of `size`."""
    error = (found.double() - expected).norm(dim=-1)
    assert (error <= bound * size.norm(dim=-1)).all()


def check_both_directions(
    x: Tensor, rotation: Tensor, dense: Dense, magnitude: Dense, bound: float
) -> None:
    matrix, wide = dense(rotation), x.double()
    strict = rotation.dim() == 1
    sizes = torch.eye(len(matrix), dtype=torch.float64) if strict else magnitude(rotation)
    size = wide.abs()
    assert_agrees(rotate(x, rotation), wide @ matrix.T, size @ sizes.T, bound)
    assert_agrees(rotate_transposed(x, rotation), wide @ matrix, size @ sizes, bound)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), dim=dims, count=st.integers(0, 140), seed=seeds)
@example(kind="strict", dim=768, count=150, seed=1)
@example(kind="quasi", dim=768, count=3, seed=1)
def test_agrees_with_the_dense_matrix(
    kind: str,
    dim: int,
    count: int,
    seed: int,
    draw: Draw,
    dense: Dense,
    magnitude: Dense,
    tolerance: Tolerance,
) -> None:
    x = vectors(count, dim, seed=seed)
    rotation = draw(kind, dim, seed)
    check_both_directions(x, rotation, dense, magnitude, tolerance(torch.float64, dim))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("dim", "count"), [(2, 150), (13, 3), (96, 150), (768, 3), (768, 150)])
@pytest.mark.parametrize("kind", KINDS)
def test_rounding_stays_within_a_random_walk_over_the_stages(
    kind: str,
    dim: int,
    count: int,
    dtype: torch.dtype,
    draw: Draw,
    dense: Dense,
    magnitude: Dense,
    tolerance: Tolerance,
) -> None:
    x = vectors(count, dim, dtype=dtype)
    rotation = draw(kind, dim).to(torch.promote_types(dtype, torch.float32))
    assert rotate(x, rotation).dtype == rotate_transposed(x, rotation).dtype == dtype
    check_both_directions(x, rotation, dense, magnitude, tolerance(dtype, dim))


@settings(max_examples=60, deadline=None)
@given(dim=dims, seed=seeds)
def test_strict_rotations_keep_norms_and_have_determinant_one(
    dim: int, seed: int, draw: Draw, tolerance: Tolerance
) -> None:
    rotation = draw("strict", dim, seed)
    matrix = rotate(torch.eye(dim, dtype=torch.float64), rotation).T
    # Each row and each column of the matrix is one rotated unit vector.
    bound = tolerance(torch.float64, dim)
    identity = torch.eye(dim, dtype=torch.float64)
    assert (matrix @ matrix.T - identity).abs().max() <= 2 * bound
    assert abs(torch.linalg.det(matrix) - 1) <= dim * bound


@settings(max_examples=60, deadline=None)
@given(dim=dims, count=st.integers(1, 140), seed=seeds)
def test_each_direction_undoes_the_other(
    dim: int, count: int, seed: int, draw: Draw, tolerance: Tolerance
) -> None:
    rotation, x = draw("strict", dim, seed), vectors(count, dim, seed=seed)
    bound = 2 * tolerance(torch.float64, dim)
    assert_agrees(rotate_transposed(rotate(x, rotation), rotation), x, x, bound)
    assert_agrees(rotate(rotate_transposed(x, rotation), rotation), x, x, bound)


@pytest.mark.parametrize("dim", [3072, 4096, 11008])
def test_wide_layers_keep_norms_and_come_back(dim: int, draw: Draw, tolerance: Tolerance) -> None:
    rotation, x = draw("strict", dim).float(), vectors(130, dim, dtype=torch.float32)
    bound = tolerance(torch.float32, dim)
    turned = rotate_transposed(x, rotation)
    assert ((turned.norm(dim=-1) / x.norm(dim=-1) - 1).abs() <= bound).all()
    assert_agrees(rotate(turned, rotation), x.double(), x.double(), 2 * bound)


@pytest.mark.parametrize("dim", [1, 2, 97, 768])
@pytest.mark.parametrize("count", [1, 150])
def test_starts_as_the_identity_bit_by_bit(dim: int, count: int) -> None:
    x = vectors(count, dim, dtype=torch.float32)
    for start in (angles_from(torch.zeros(dim - 1)), torch.eye(2).repeat(dim - 1, 1, 1)):
        assert torch.equal(rotate(x, start), x)
        assert torch.equal(rotate_transposed(x, start), x)


def angles_onto_first_axis(x: Tensor) -> Tensor:
    """Return angles with R x = |x| e_1: each pair moves its length into its first coordinate."""
    angles, live = torch.zeros(len(x) - 1, dtype=x.dtype), x
    for stage in schedule(len(x)):
        first, second = live[0 : 2 * stage.pairs : 2], live[1::2]
        angles[stage.span] = torch.atan2(-second, first)
        live = torch.cat((torch.hypot(first, second), live[2 * stage.pairs :]))
    return angles


@settings(max_examples=60, deadline=None)
@given(dim=st.integers(2, 140), seed=seeds)
def test_one_set_of_angles_turns_any_vector_onto_the_first_axis_and_back(
    dim: int, seed: int, tolerance: Tolerance
) -> None:
    x = vectors(dim, seed=seed)
    axis = torch.zeros_like(x)
    axis[0] = x.norm()
    angles = angles_onto_first_axis(x)
    # Choosing the angles rounds once per stage as well.
    bound = 2 * tolerance(torch.float64, dim)
    assert_agrees(rotate(x, angles), axis, x, bound)
    assert_agrees(rotate_transposed(axis, angles), x, x, bound)


@given(st.lists(st.floats(-20, 20), max_size=20))
def test_parameters_become_angles(values: list[float]) -> None:
    parameter = torch.tensor(values, dtype=torch.float64)
    expected = torch.tensor([math.pi * math.tanh(v) for v in values], dtype=torch.float64)
    torch.testing.assert_close(angles_from(parameter), expected, rtol=1e-14, atol=0)
    assert torch.equal(angles_from(parameter, "direct"), parameter)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_angles_of_half_precision_parameters_are_computed_in_float32(dtype: torch.dtype) -> None:
    parameter = vectors(9, dtype=dtype)
    assert torch.equal(angles_from(parameter), angles_from(parameter.float()))


@given(st.integers(1, 20), seeds)
def test_penalty_sums_the_squared_inner_products_of_columns(pairs: int, seed: int) -> None:
    blocks = vectors(pairs, 2, 2, seed=seed)
    expected = sum((a1 * b1 + a2 * b2) ** 2 for ((a1, b1), (a2, b2)) in blocks.tolist())
    assert quasi_penalty(blocks).item() == pytest.approx(expected, rel=1e-12)


def test_strict_blocks_have_no_penalty(draw: Draw) -> None:
    cos, sin = (angle := draw("strict", 9)).cos(), angle.sin()
    blocks = torch.stack((cos, -sin, sin, cos), dim=-1).view(-1, 2, 2)
    assert quasi_penalty(blocks) == 0


@pytest.mark.parametrize(
    ("x", "rotation", "sentence"),
    [
        (torch.zeros(3, 7), torch.zeros(7), r"x: .* 7.* 8"),
        (torch.zeros(()), torch.zeros(7), r"x: last dimension is 0"),
        (torch.zeros(3, 8), torch.zeros(7, 2), r"\(7, 2\).*\(d-1,\)"),
        (torch.zeros(3, 8), torch.zeros(()), r"\(\).*\(d-1,\)"),
        (torch.zeros(3, 8), torch.zeros(7, device="meta"), r"rotation: found on meta.* cpu; load"),
        (torch.zeros(3, 8, dtype=torch.int64), torch.zeros(7), r"x: dtype is torch.int64"),
    ],
)
@pytest.mark.parametrize("apply", [rotate, rotate_transposed])
def test_shapes_that_do_not_belong_together_are_refused(
    apply: Callable[[Tensor, Tensor], Tensor], x: Tensor, rotation: Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        apply(x, rotation)


def test_factors_that_are_not_one_for_each_column_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scale: .*\(1,\).*\(3,\)"):
        rotate_transposed(torch.zeros(2, 3), torch.zeros(2), scale=torch.ones(1))


def test_an_unknown_angle_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"angle='sine' .*tanh, direct"):
        angles_from(torch.zeros(3), "sine")  # pyright: ignore[reportArgumentType] - the mistake

"""Test which vectors one and two trees of rotations can map onto each other (Theorem 4.1).

Source: Ma et al., ICML 2024, arXiv:2404.04316. One tree rotates any vector onto the first axis. Its
transpose rotates the first axis onto any vector. It takes two trees to rotate any vector onto any
other.
"""

from __future__ import annotations

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from goft_cli.rotation import rotate, rotate_transposed, schedule

dims = st.integers(2, 300)
seeds = st.integers(0, 2**31)


def climbing_angles(x: Tensor) -> Tensor:
    """Return angles (d-1,), stage by stage: each pair moves its length into its left member."""
    left_over, angles = x.clone(), []
    for stage in schedule(len(x)):
        first = torch.arange(stage.pairs) * 2 * stage.stride
        left, right = left_over[first], left_over[first + stage.stride]
        angles.append(torch.atan2(-right, left))
        left_over[first] = torch.hypot(left, right)
    return torch.cat(angles)


def vector(dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(dim, generator=generator, dtype=torch.float64)


def rounding(x: Tensor) -> float:
    """Return a bound: three roundings per stage, in two directions, times the norm of x."""
    return 6 * len(schedule(len(x))) * torch.finfo(x.dtype).eps * float(x.norm())


@settings(max_examples=60, deadline=None)
@given(dim=dims, seed=seeds)
@example(dim=1000, seed=0)
def test_one_tree_carries_any_vector_to_the_first_axis_and_back(dim: int, seed: int) -> None:
    x = vector(dim, seed)
    angles, axis = climbing_angles(x), torch.zeros_like(x)
    axis[0] = x.norm()
    assert (rotate(x, angles) - axis).norm() <= rounding(x)
    assert (rotate_transposed(axis, angles) - x).norm() <= rounding(x)


@settings(max_examples=60, deadline=None)
@given(dim=dims, seeds=st.tuples(seeds, seeds))
@example(dim=1000, seeds=(0, 1))
def test_two_trees_carry_any_vector_to_any_other(dim: int, seeds: tuple[int, int]) -> None:
    x, y = (vector(dim, seed) for seed in seeds)
    y *= x.norm() / y.norm()
    found = rotate_transposed(rotate(x, climbing_angles(x)), climbing_angles(y))
    assert (found - y).norm() <= rounding(x)


@settings(max_examples=60, deadline=None)
@given(dim=st.integers(3, 300), seed=seeds)
def test_one_tree_never_carries_the_third_axis_to_the_second(dim: int, seed: int) -> None:
    angles, third = 10 * vector(dim - 1, seed), torch.zeros(dim, dtype=torch.float64)
    third[2] = 1
    # R: coordinate 1 is used in stage 1 only, before coordinate 2 is paired with coordinate 0
    assert rotate(third, angles)[1] == 0
    second = torch.zeros(dim, dtype=torch.float64)
    second[1] = 1
    # R^T: coordinate 1 is paired with coordinate 0 only, in the last step
    assert rotate_transposed(second, angles)[2:].count_nonzero() == 0

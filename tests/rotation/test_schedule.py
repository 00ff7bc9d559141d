"""The schedule pairs the coordinates of any width in a tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.rotation import schedule

dims = st.integers(1, 20_000)


@given(dims)
def test_pairs_add_up_to_one_less_than_the_width(dim: int) -> None:
    assert sum(stage.pairs for stage in schedule(dim)) == dim - 1


@given(dims)
def test_stages_double_the_stride_and_number_the_pairs_in_order(dim: int) -> None:
    stages = schedule(dim)
    assert [stage.stride for stage in stages] == [2**r for r in range(len(stages))]
    ends = [0, *(stage.span.stop for stage in stages)]
    assert [stage.offset for stage in stages] == ends[:-1]


@given(st.integers(1, 300))
def test_every_coordinate_but_the_first_retires_exactly_once(dim: int) -> None:
    retired = [
        2 * stage.stride * k + stage.stride for stage in schedule(dim) for k in range(stage.pairs)
    ]
    assert sorted(retired) == list(range(1, dim))


def test_pairs_per_stage_of_the_width_of_deberta_base() -> None:
    assert [stage.pairs for stage in schedule(768)] == [384, 192, 96, 48, 24, 12, 6, 3, 1, 1]


def test_one_coordinate_has_no_stage() -> None:
    assert schedule(1) == ()


def test_no_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dim=0"):
        schedule(0)

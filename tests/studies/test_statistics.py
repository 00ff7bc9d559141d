"""Test the intervals against closed forms and a printed table, the Pareto front by definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from goft_cli.studies.leaderboard import (
    deviation,
    mean_and_deviation,
    paired_difference,
    pareto_front,
    student_t,
)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_students_t_with_one_and_two_degrees_is_known_in_closed_form(confidence: float) -> None:
    p = (1 + confidence) / 2
    assert student_t(confidence, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)))
    assert student_t(confidence, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)))


@pytest.mark.parametrize(("degrees", "printed"), [(4, 2.776), (9, 2.262), (30, 2.042)])
def test_students_t_is_that_of_the_printed_tables(degrees: int, printed: float) -> None:
    assert student_t(0.95, degrees) == pytest.approx(printed, abs=5e-4)


@given(st.floats(0.1, 0.9999), st.integers(1, 200))
def test_students_t_is_that_of_scipy(confidence: float, degrees: int) -> None:
    expected = stdtrit(degrees, (1 + confidence) / 2)
    assert student_t(confidence, degrees) == pytest.approx(expected, rel=1e-9)


def test_the_interval_worked_out_by_hand() -> None:
    # differences 1, 2, 3: mean 2, deviation 1, half width t(0.975; 2) / sqrt(3) with t = 4.3027
    found = paired_difference({1: 5.0, 2: 7.0, 3: 9.0}, {3: 6.0, 2: 5.0, 1: 4.0, 8: 100.0})
    assert (found.mean, found.pairs) == (2, 3)
    assert found.interval == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_pairing_takes_out_what_the_seeds_have_in_common() -> None:
    easy = {seed: float(seed) for seed in range(1, 6)}
    found = paired_difference({seed: score + 0.5 for seed, score in easy.items()}, easy)
    assert found.mean == pytest.approx(0.5)
    assert found.half_width == pytest.approx(0, abs=1e-12)


def test_one_pair_has_no_interval_and_none_has_no_difference() -> None:
    assert paired_difference({1: 2.0}, {1: 1.0}).interval is None
    assert deviation([1.0]) is None
    with pytest.raises(ValueError, match=r"no seed in common: \[1\] and \[2\]"):
        paired_difference({1: 2.0}, {2: 1.0})


@given(
    st.lists(st.floats(0, 1), min_size=1),
    st.sampled_from([math.inf, -math.inf, math.nan]),
    st.integers(0, 9),
)
def test_a_score_that_is_not_finite_has_no_deviation_and_breaks_no_cell(
    finite: list[float], other: float, place: int
) -> None:
    values = [*finite[:place], other, *finite[place:]]
    assert math.isnan(deviation(values) or 0)
    assert mean_and_deviation(values, 3).endswith(" ± nan")
    scores = dict(enumerate(values))
    found = paired_difference(scores, dict.fromkeys(scores, 0.5))
    assert not math.isfinite(found.mean)
    assert found.interval is not None
    assert all(map(math.isnan, found.interval))


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(points)
def test_the_front_is_what_no_other_point_beats(found: list[tuple[int, int]]) -> None:
    def beaten(index: int) -> bool:
        cost, merit = found[index]
        return any(c <= cost and m >= merit and (c, m) != (cost, merit) for c, m in found)

    front = pareto_front([cost for cost, _ in found], [merit for _, merit in found])
    assert {found[index] for index in front} == {
        found[index] for index in range(len(found)) if not beaten(index)
    }
    assert [found[index][0] for index in front] == sorted({found[index][0] for index in front})

"""Test the one-standard-error rule, the bootstrap, and the scores on rows left out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.studies.rewinding import RESAMPLES, Choice, Point, choose, chosen, held_out, resamples

SCORES = st.floats(-100, 100)
ERRORS = st.floats(0, 50)
LINES = st.lists(
    st.tuples(st.floats(0, 1.5), SCORES, ERRORS),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one[0],
)
Line = tuple[float, float, float]


def picked(lines: list[Line], *, greater_is_better: bool = True) -> Line:
    return lines[choose(*zip(*lines, strict=True), greater_is_better=greater_is_better)]


@given(LINES)
def test_the_chosen_score_is_within_one_error_of_the_best_and_no_smaller_strength_is(
    lines: list[Line],
) -> None:
    best = max(score for _, score, _ in lines)
    error = min(lines, key=lambda one: (-one[1], one[0]))[2]
    strength, score, _ = picked(lines)
    assert score >= best - error
    assert all(one[1] < best - error for one in lines if one[0] < strength)


@given(LINES, st.randoms())
def test_the_order_of_the_points_does_not_matter(lines: list[Line], random: object) -> None:
    mixed = lines.copy()
    random.shuffle(mixed)  # pyright: ignore[reportAttributeAccessIssue] - a random.Random
    assert picked(mixed) == picked(lines)


@given(LINES)
def test_of_losses_the_smaller_one_is_better(lines: list[Line]) -> None:
    losses = [(strength, -score, error) for strength, score, error in lines]
    strength, score, error = picked(lines)
    assert picked(losses, greater_is_better=False) == (strength, -score, error)


@given(LINES)
def test_without_errors_the_best_score_is_chosen(lines: list[Line]) -> None:
    exact = [(strength, score, 0.0) for strength, score, _ in lines]
    assert picked(exact)[1] == max(score for _, score, _ in lines)


def test_ties_ruined_scores_and_one_point() -> None:
    nan = math.nan
    assert picked([(0.5, 3.0, 0.0)])[0] == 0.5
    assert picked([(1.0, 3.0, 0.0), (0.5, 3.0, 0.0), (0.75, 3.0, 9.0)])[0] == 0.5
    assert picked([(0.0, nan, 1.0), (0.5, 0.1, 0.0), (1.0, nan, nan)])[0] == 0.5
    assert picked([(0.0, 2.0, 0.0), (1.0, math.inf, nan)], greater_is_better=False)[0] == 0.0


def points_of(rows: np.ndarray) -> list[Point]:
    """Return a point for each column of scores (rows, strengths), with its mean as the headline."""
    at = np.linspace(0, 1, rows.shape[1])
    return [
        Point(float(t), float(column.mean()), partial(mean_of, column), len(rows))
        for t, column in zip(at, rows.T, strict=True)
    ]


def mean_of(column: np.ndarray, places: np.ndarray) -> float:
    return float(column[places].mean())


def test_the_error_of_a_mean_is_the_textbooks() -> None:
    rows = np.random.default_rng(0).random((400, 2)) < [0.9, 0.6]
    one, other = points_of(rows.astype(float))
    # a deviation from B draws has a relative error of 1 / sqrt(2 (B - 1)); four are allowed
    allowed = 4 / math.sqrt(2 * (RESAMPLES - 1))
    for point, column in zip((one, other), rows.T, strict=True):
        share = column.mean()
        expected = math.sqrt(share * (1 - share) / len(rows))
        assert point.standard_error == pytest.approx(expected, rel=allowed)
    apart = rows[:, 0].astype(float) - rows[:, 1]
    difference, error = one.difference(other)
    assert difference == pytest.approx(apart.mean())
    assert error == pytest.approx(apart.std() / math.sqrt(len(rows)), rel=allowed)


def test_strengths_share_their_resamples() -> None:
    column = np.random.default_rng(1).random(50)
    one, other = points_of(np.stack([column, column], axis=1))
    assert one.difference(other) == (0.0, 0.0)
    assert one.standard_error > 0
    first, again = ([*map(tuple, resamples(50))] for _ in range(2))
    assert first == again
    assert len(set(first)) == RESAMPLES


def test_left_out_rows_show_that_a_choice_among_equals_gains_nothing() -> None:
    """The strengths differ only by chance: each expects a score of 0 on new rows."""
    generator, trials, told, seen = np.random.default_rng(2), 25, [], []
    for _ in range(trials):
        points = points_of(generator.normal(size=(40, 8)))
        choice = chosen(points, greater_is_better=True)
        told.append(held_out(points, choice.picks))
        seen.append(choice.point.score)
    # a score has a deviation of 1 / sqrt(40); its mean over the 25 trials has at most a fifth
    allowed = 4 / math.sqrt(40 * trials)
    assert np.mean(seen) > allowed
    assert abs(np.mean(told)) < allowed


def test_the_rows_left_out_are_those_that_are_not_drawn() -> None:
    points = points_of(np.random.default_rng(4).normal(size=(20, 3)))
    asked: list[tuple[int, ...]] = []

    def record(places: np.ndarray) -> float:
        asked.append(tuple(places))
        return 0.5

    silent = [replace(one, scorer=record) for one in points]
    assert held_out(silent, [1] * RESAMPLES) == 0.5
    for left, drawn in zip(asked, resamples(20), strict=True):
        assert sorted({*left, *drawn.tolist()}) == [*range(20)]
        assert not {*left} & {*drawn.tolist()}


def test_of_one_point_each_resample_picks_it() -> None:
    rows = np.random.default_rng(3).normal(size=(30, 5))
    choice = chosen(points_of(rows), greater_is_better=False)
    assert len(choice.picks) == RESAMPLES
    assert choice.best.score == pytest.approx(rows.mean(axis=0).min())
    (alone,) = points_of(rows[:, :1])
    assert chosen([alone], greater_is_better=True) == Choice(alone, alone, [0] * RESAMPLES)

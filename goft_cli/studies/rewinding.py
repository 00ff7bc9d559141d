"""Score a trained run at fractions of its strength, with standard errors, and choose one.

A resample has as many rows as the split, drawn with replacement, and is the same one at every
strength: differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from goft_cli.system.errors import GoftError
from goft_cli.system.screen import console, speaks
from goft_cli.tasks.base import RowScorer, Split
from goft_cli.tuner import set_strength, strength_of

if TYPE_CHECKING:
    from goft_cli.run.forgetting import Retention
    from goft_cli.run.trained import TrainedRun

RESAMPLES = 200
"""Enough for a standard error (Efron and Tibshirani 1993, An Introduction to the Bootstrap, 6.4):
other draws would change it by 5 %."""


@dataclass(frozen=True)
class Point:
    """A run at one strength.

    Attributes:
        strength: the share of every angle, 1 for the adapter as it was trained.
        score: the headline on the split's rows.
        scorer: computes the headline on chosen rows.
        rows: number of the split's rows.
        measures: the result of `Retention.measure`.
        forgotten: the headline of the measures, 0 for the base model; None if not measured.
    """

    strength: float
    score: float
    scorer: RowScorer
    rows: int
    measures: Mapping[str, float] = field(default_factory=dict)
    forgotten: float | None = None

    @cached_property
    def resampled(self) -> np.ndarray:
        """(`RESAMPLES`,) the headline on each resample, computed when it is first asked for."""
        return np.array([self.scorer(places) for places in resamples(self.rows)])

    @property
    def standard_error(self) -> float:
        """The deviation of the score over resamples."""
        return deviation(self.resampled)

    def difference(self, other: Point) -> tuple[float, float]:
        """Return the score less another point's on the same rows, and its standard error."""
        return self.score - other.score, deviation(self.resampled - other.resampled)


def deviation(values: np.ndarray) -> float:
    """Return the standard deviation (n - 1 below the root); NaN where a value is infinite."""
    with np.errstate(invalid="ignore"):
        return float(np.std(values, ddof=1))


def resamples(rows: int) -> Iterator[np.ndarray]:
    """Yield the (rows,) places of each resample, the same ones for the same number of rows."""
    # the one generator whose numbers NumPy keeps in every version
    generator = np.random.RandomState(0)
    for _ in range(RESAMPLES):
        yield generator.randint(rows, size=rows)


def encoded(run: TrainedRun, name: str) -> Split:
    """Read and encode a split."""
    return run.task.split(run.load_splits([name]).splits[name], run.backbone.processor)


def check_fractions(run: TrainedRun, strengths: Sequence[float]) -> None:
    """Refuse an adapter without fractional strengths, before any row is read."""
    before = strength_of(run.model)
    try:
        for strength in (*strengths, before):
            set_strength(run.model, strength)
    except ValueError as error:
        # strength=1, the remedy of that sentence, is no remedy here
        problem = str(error).removesuffix("; pass strength=1")
        raise GoftError(
            f"adapter={run.folder.path}: {problem}",
            f"score it as it was trained: goft eval adapter={run.folder.path}",
        ) from error


def rewind(
    run: TrainedRun,
    at: Sequence[float],
    retention: Retention | None,
    batch_size: int,
    split: Split,
) -> list[Point]:
    """Score the run at each strength, in this order, on the rows of a split.

    One model is in memory; its strength is restored afterwards. Each strength costs one evaluation
    and, with a retention, one pass over its reference inputs.
    """
    before, points = strength_of(run.model), []
    try:
        for number, strength in enumerate(at, start=1):
            set_strength(run.model, strength)
            points.append(scored(run, strength, retention, batch_size, split))
            if speaks():  # a line each, for measures have bars of their own
                score = f"{points[-1].score:.4f} on {len(split.rows)} rows"
                said = f"{number} of {len(at)}: strength {strength:g}, {score}"
                console.print(said, style="dim", highlight=False)
    finally:
        set_strength(run.model, before)
    return points


def scored(
    run: TrainedRun, strength: float, retention: Retention | None, batch_size: int, split: Split
) -> Point:
    """Score the model as it stands on a split's rows, and measure it."""
    outputs = run.outputs(run.model, {"split": split}, batch_size)["split"]
    scorer, rows = run.task.row_scorer(outputs, split), len(split.rows)
    measures = retention.measure() if retention else {}
    forgotten = retention.forgotten(measures) if retention else None
    return Point(strength, scorer(np.arange(rows)), scorer, rows, measures, forgotten)


def choose(
    strengths: Sequence[float],
    scores: Sequence[float] | np.ndarray,
    errors: Sequence[float],
    *,
    greater_is_better: bool,
) -> int:
    """Return the index of the smallest strength that is within one standard error of the best.

    The error is that of the best score; of equal best scores it is that of the smaller strength.
    This is the rule of Breiman, Friedman, Olshen and Stone (1984, Classification and Regression
    Trees, 3.4.3; Hastie, Tibshirani and Friedman 2009, 7.10) with strength in place of complexity.
    NaN is the worst score, and an error that is NaN counts as 0.
    """
    merits = np.asarray(scores, dtype=float) * (1 if greater_is_better else -1)
    merits = np.where(np.isnan(merits), -np.inf, merits)
    order = sorted(range(len(strengths)), key=lambda place: strengths[place])
    best = max(order, key=lambda place: merits[place])  # of equal ones the first
    least = merits[best] - np.nan_to_num(errors[best])
    return next(place for place in order if merits[place] >= least)


@dataclass(frozen=True)
class Choice:
    """What the rule chose among points on the same rows.

    Attributes:
        point: the chosen one.
        best: the one with the best score.
        picks: by resample, the index of the point that the rule would choose on it.
    """

    point: Point
    best: Point
    picks: list[int]


def chosen(points: Sequence[Point], *, greater_is_better: bool) -> Choice:
    """Apply the rule to points on the same rows, and to each of their resamples."""
    strengths, scores = [one.strength for one in points], [one.score for one in points]
    errors = [one.standard_error for one in points]
    better = {"greater_is_better": greater_is_better}
    resampled = np.stack([one.resampled for one in points], axis=1)
    return Choice(
        points[choose(strengths, scores, errors, **better)],
        points[choose(strengths, scores, [0.0] * len(points), **better)],
        [choose(strengths, column, errors, **better) for column in resampled],
    )


def held_out(points: Sequence[Point], picks: Sequence[int]) -> float:
    """Return the mean score of each resample's pick on the rows that the resample leaves out.

    Those rows, a bit more than a third, have no part in the choice: a strength chosen and scored on
    the same rows scores too well (Efron 1983, Journal of the American Statistical Association 78).
    """
    rows = np.arange(points[0].rows)
    left_out = (np.setdiff1d(rows, places) for places in resamples(len(rows)))
    each = zip(picks, left_out, strict=True)
    return float(np.mean([points[pick].scorer(out) for pick, out in each if len(out)]))

"""Small samples: spread over seeds, paired differences, the next draw, what no other beats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean difference of paired runs, with its confidence interval.

    The interval's half width is None for a single pair, which says nothing of the spread.
    """

    mean: float
    half_width: float | None
    pairs: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends."""
        if self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation (n - 1 below the root), None for a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Return both as text, such as `0.523 ± 0.011`, and the mean alone of a single value."""
    spread = deviation(values)
    around = "" if spread is None else f" ± {spread:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f}{around}"


def paired_difference(
    ours: Mapping[int, float], theirs: Mapping[int, float], confidence: float = CONFIDENCE
) -> Difference:
    """Compare two methods on the seeds that both have.

    With d_i the difference on seed i, n seeds, m their mean and s their standard deviation
    (n - 1 below the root), the interval is Student's

        m +- t(1/2 + confidence/2; n - 1) s / sqrt(n).

    It holds for one comparison named beforehand, and takes the d_i for normally distributed.
    Both are scores by seed; without a seed in common it is a ValueError.
    """
    differences = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    if not differences:
        raise ValueError(f"no seed in common: {sorted(ours)} and {sorted(theirs)}")
    mean, spread, pairs = statistics.mean(differences), deviation(differences), len(differences)
    if spread is None:
        return Difference(mean, None, pairs)
    return Difference(mean, student_t(confidence, pairs - 1) * spread / math.sqrt(pairs), pairs)


def prediction_radius(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """Return how far from the mean of two or more normal draws the next one falls.

    It falls no farther `confidence` of the time.
    """
    quantile = student_t(confidence, len(values) - 1)
    return quantile * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))


def student_t(confidence: float, degrees: int) -> float:
    """Return what Student's t of so many degrees stays below in size, `confidence` of the time."""
    from scipy.special import stdtrit  # the distributions of scipy.stats take a second to import

    return float(stdtrit(degrees, (1 + confidence) / 2))


def pareto_front(costs: Sequence[float], merits: Sequence[float]) -> list[int]:
    """Return which points no other beats: none costs as little and does better, or the reverse.

    Less cost and more merit are better. Indices come by rising cost; of equal points, the first.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -merits[index]))
    front: list[int] = []
    for index in order:
        if not front or merits[index] > merits[front[-1]]:
            front.append(index)
    return front

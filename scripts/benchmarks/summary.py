"""Median and quartiles of repeated measurements, alone or paired round by round."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles, all in the unit of the values they come from."""

    median: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers for a JSON file."""
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Summarise; the quartiles of a single value are that value.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("found no values to summarise, expected at least one; run more rounds")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def paired(
    values: Sequence[float],
    references: Sequence[float],
    compare: Callable[[float, float], float] = operator.truediv,
) -> Spread:
    """Summarise what each value is to the reference of its own round, so that drift cancels.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    return spread([compare(a, b) for a, b in zip(values, references, strict=True)])


def excess(value: float, reference: float) -> float:
    """Return how much more `value` is, as a share of the reference."""
    return value / reference - 1

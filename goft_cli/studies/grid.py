"""Grids of learning rates around the recipe's, the same for every adapter, and the choice.

A step is a position on the grid: 0 is the recipe's rate, and each further step is `STEP` times
more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

STEP = math.sqrt(10)
"""Two steps are a decade: three rates, the smallest grid with a middle, span a factor of ten."""
MOST_ADDED = 2
"""The most rates that are added to each grid if a best rate is at an edge."""


def first_steps(count: int) -> range:
    """Return `count` steps with 0 in the middle; of an even number one more is above it.

    Most recipes are for longer training, which needs smaller rates.
    """
    return range(-((count - 1) // 2), count // 2 + 1)


def rate_at(recipe: float, step: int) -> float:
    """Return the learning rate of a step: the recipe's as it is, others to three digits."""
    return recipe if step == 0 else float(f"{recipe * STEP**step:.3g}")


def best_step(merits: Mapping[int, float | None]) -> int:
    """Return the step with the best merit; of equal ones the nearest to 0, then the lower.

    None and NaN, from failed trainings, rank last; if all failed, return the lowest step.
    """
    found = {step: merit for step, merit in merits.items() if not is_lost(merit)}
    if not found:
        return min(merits)
    return max(found, key=lambda step: (found[step], -abs(step), -step))


def is_lost(merit: float | None) -> bool:
    """Tell whether a merit is that of a failed training."""
    return merit is None or math.isnan(merit)


def widened(steps: range, chosen: Iterable[int], count: int) -> range:
    """Return the steps with one more at each edge that was chosen, as far as `MOST_ADDED` allows.

    `count` is how many there were at first.
    """
    edges = {*chosen} & {steps[0], steps[-1]}
    wider = range(steps.start - (steps[0] in edges), steps.stop + (steps[-1] in edges))
    return wider if len(wider) <= count + MOST_ADDED else steps

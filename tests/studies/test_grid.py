"""Learning-rate grids are evenly spaced on a log axis, and are widened at a chosen edge."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.studies.grid import (
    MOST_ADDED,
    STEP,
    best_step,
    first_steps,
    rate_at,
    widened,
)

COUNTS = st.integers(2, 9)
RECIPES = st.floats(1e-6, 1.0)


@given(COUNTS, RECIPES)
def test_a_grid_has_so_many_rates_evenly_around_the_recipes(count: int, recipe: float) -> None:
    rates = [rate_at(recipe, step) for step in first_steps(count)]
    assert len({*rates}) == count
    assert recipe in rates
    # both rates of a ratio are rounded to three digits, by up to half a unit of the last
    ratios = [after / before for before, after in pairwise(rates)]
    assert ratios == pytest.approx([STEP] * (count - 1), rel=2 * 0.005)
    below = rates.index(recipe)
    assert count - 1 - below - below in {0, 1}


@given(COUNTS, st.data())
def test_a_grid_grows_at_the_edges_that_were_chosen_and_not_forever(
    count: int, data: st.DataObject
) -> None:
    steps = first_steps(count)
    while True:
        chosen = data.draw(st.lists(st.sampled_from(steps), min_size=1))
        wider = widened(steps, chosen, count)
        assert {*steps} <= {*wider}
        assert len(wider) <= count + MOST_ADDED
        if wider == steps:
            break
        assert (wider.start < steps.start) == (steps[0] in chosen)
        assert (wider.stop > steps.stop) == (steps[-1] in chosen)
        steps = wider
    assert len(steps) > count + MOST_ADDED - 2 or not {steps[0], steps[-1]} & {*chosen}


MERITS = st.dictionaries(
    st.integers(-4, 4), st.sampled_from([0.0, 0.25, 0.5, None, math.nan]), min_size=1
)


@given(MERITS)
def test_the_best_is_chosen_and_of_equals_the_nearest_to_the_recipes(
    merits: dict[int, float | None],
) -> None:
    step = best_step(merits)
    finite = {k: v for k, v in merits.items() if v is not None and not math.isnan(v)}
    if not finite:
        assert step == min(merits)  # all diverged: a lower rate may not
        return
    assert finite[step] == max(finite.values())
    assert all(abs(step) <= abs(k) for k, v in finite.items() if v == finite[step])

"""The figures of a comparison: scores against costs, and scores over the learning rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.studies.grid import STEP
from goft_cli.studies.leaderboard import pareto_front
from goft_cli.system.figures import SECOND_INK, label_log_axis, legend, save, style
from goft_cli.system.palette import looks_of
from goft_cli.system.tables import spaced
from goft_cli.verbs.compare.table import Caption, Summary
from goft_cli.verbs.compare.tuning import Tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
EDGE = {"markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.6}
POINT: dict[str, Any] = {**EDGE, "elinewidth": 1.2, "capsize": 2.5, "linestyle": ""}
DASHED = {"color": SECOND_INK, "linewidth": 1, "linestyle": (0, (4, 2))}
WAY: dict[str, Any] = {"linewidth": 1, "marker": ".", "markersize": 4, "zorder": 1}
"""Of the runs at fractions of their strength."""
FRONT: dict[str, Any] = {**DASHED, "drawstyle": "steps-post", "zorder": 1}


@style()
def draw(rows: Sequence[Summary], caption: Caption, folder: Path) -> None:
    """Write `comparison.png` and its like, one point per row."""
    from matplotlib.figure import Figure

    lost = [row.forgotten for row in rows if row.forgotten]
    looks = looks_of(row.adapter for row in rows)
    figure = Figure(figsize=(10.4, 3.4) if lost else (7.2, 3.4))
    left, right, *third = figure.subplots(1, 3 if lost else 2, sharey=True)
    panel(left, rows, [row.parameters for row in rows], "adapter parameters")
    panel(right, rows, [row.seconds for row in rows], "training time, seconds")
    log_axis(left, [row.parameters for row in rows])
    for axes in third:
        panel(axes, rows, [one.mean for one in lost], f"forgotten:\n{lost[0].label}")
        for row, one in zip(rows, lost, strict=True):
            if one.line:
                axes.plot(*zip(*one.line, strict=True), color=looks[row.adapter].colour, **WAY)
    left.set_ylabel(spaced(caption.headline))
    seeds = len(rows[0].results)
    shown = f"mean and standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"{caption.task}, {caption.model} ({shown})", fontsize="medium")
    legend(figure, left)
    for suffix in FORMATS:
        save(figure, folder / f"comparison.{suffix}", dpi=200)


def panel(axes: Axes, rows: Sequence[Summary], costs: Sequence[float], label: str) -> None:
    """Draw one point per adapter with its spread, and the front below them."""
    merits = [statistics.mean(result.merit for result in row.results) for row in rows]
    front, looks = pareto_front(costs, merits), looks_of(row.adapter for row in rows)
    for row, cost in zip(rows, costs, strict=True):
        colour, marker = looks[row.adapter]
        shown = {"color": colour, "marker": marker, "label": row.adapter}
        axes.errorbar(cost, row.mean, yerr=row.deviation, **shown, **POINT)
    ends = [(costs[index], rows[index].mean) for index in front]
    if len(ends) > 1:
        axes.plot(*zip(*ends, strict=True), label="Pareto front", **FRONT)
    axes.set_xlabel(label)


def log_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Scale logarithmically, with a place for an adapter without parameters."""
    positive = [count for count in counts if count]
    if not positive:
        return
    zero, high = 0 in counts, 1.3 * max(positive)
    low = 10 ** math.floor(math.log10(min(positive))) if zero else 0.8 * min(positive)
    axes.set_xscale("symlog", linthresh=low, linscale=0.5)
    axes.set_xlim(-0.2 * low if zero else low, high)
    label_log_axis(axes.xaxis, low, high, zero=zero)


@style()
def draw_tuning(tuned: Mapping[str, Tuned], caption: Caption, path: Path) -> None:
    """Draw a line of scores over the learning rates for each adapter, the chosen one marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(4.8, 3.4))
    axes = figure.subplots()
    for name, (colour, marker) in looks_of(tuned).items():
        one = tuned[name]
        found = {step: score for step, score in one.scores.items() if score is not None}
        factors = [STEP**step for step in found]
        axes.plot(factors, [*found.values()], color=colour, marker=marker, label=name, **EDGE)
        if one.chosen in found:
            ring = {"color": colour, "marker": "o", "markersize": 12, "fillstyle": "none"}
            axes.plot(STEP**one.chosen, found[one.chosen], **ring)
    steps = sorted({step for one in tuned.values() for step in one.runs})
    axes.set_xscale("log")
    axes.set_xticks([STEP**step for step in steps], [f"{STEP**step:.2g}" for step in steps])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("learning rate, times the recipe's (a ring: chosen)")
    split = next(iter(next(iter(tuned.values())).runs.values())).cfg.task.headline_split
    axes.set_ylabel(f"{spaced(caption.headline)}, {split}")
    figure.suptitle(f"{caption.task}, {caption.model}", fontsize="medium")
    legend(figure, axes)
    save(figure, path, dpi=200)

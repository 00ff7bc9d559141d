"""The figures of a comparison: scores against costs, and scores over the learning rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.studies.grid import STEP
from goft_cli.studies.leaderboard import pareto_front
from goft_cli.system.figures import SECOND_INK, look_of, save, style
from goft_cli.verbs.compare.table import Caption, Summary
from goft_cli.verbs.compare.tuning import Tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
MAX_IN_LINE = 8
"""Entries of the legend."""
MOST_TICKS = 6
DIGITS = ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(number / 10 for number in range(10, 100)))
"""First digits of ticks, more and more of them."""
EDGE = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
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
    figure = Figure(figsize=(10.4, 3.4) if lost else (7.2, 3.4))
    left, right, *third = figure.subplots(1, 3 if lost else 2, sharey=True)
    panel(left, rows, [row.parameters for row in rows], "adapter parameters")
    panel(right, rows, [row.seconds for row in rows], "training time, seconds")
    log_axis(left, [row.parameters for row in rows])
    for axes in third:
        panel(axes, rows, [one.mean for one in lost], f"forgotten:\n{lost[0].label}")
        for row, one in zip(rows, lost, strict=True):
            if one.line:
                axes.plot(*zip(*one.line, strict=True), color=look_of(row.adapter)[0], **WAY)
    left.set_ylabel(caption.headline.replace("_", " "))
    seeds = len(rows[0].results)
    shown = f"mean and standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"{caption.task}, {caption.model} ({shown})", fontsize="medium")
    legend(figure, left)
    for suffix in FORMATS:
        save(figure, folder / f"comparison.{suffix}", dpi=200)


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    ncols = min(len(labels), MAX_IN_LINE)
    place = {"loc": "outside lower center", "ncols": ncols, "columnspacing": 1.2}
    figure.legend(handles, labels, handletextpad=0.3, **place)


def panel(axes: Axes, rows: Sequence[Summary], costs: Sequence[float], label: str) -> None:
    """Draw one point per adapter with its spread, and the front below them."""
    merits = [statistics.mean(result.merit for result in row.results) for row in rows]
    front = pareto_front(costs, merits)
    for row, cost in zip(rows, costs, strict=True):
        colour, marker = look_of(row.adapter)
        shown = {"color": colour, "marker": marker, "label": row.adapter}
        axes.errorbar(cost, row.mean, yerr=row.deviation, **shown, **POINT)
    ends = [(costs[index], rows[index].mean) for index in front]
    axes.plot(*zip(*ends, strict=True), label="Pareto front", **FRONT)
    axes.set_xlabel(label)


def log_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Scale logarithmically, with a place for an adapter without parameters."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    positive = [count for count in counts if count]
    if not positive:
        return
    zero, high = 0 in counts, 1.3 * max(positive)
    low = 10 ** math.floor(math.log10(min(positive))) if zero else 0.8 * min(positive)
    axes.set_xscale("symlog", linthresh=low, linscale=0.5)
    axes.set_xticks([0, *ticks(low, high, 1)] if zero else ticks(low, high, 2))
    axes.set_xlim(-0.2 * low if zero else low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def ticks(low: float, high: float, least: int) -> list[float]:
    """Return `least` or more places to label on a logarithmic axis: powers of ten if they do.

    `high` is at least 1.3 times `low`.
    """
    decades = [10.0**power for power in range(math.floor(math.log10(low)), 19)]
    several = (
        [digit * one for one in decades for digit in digits if low <= digit * one <= high]
        for digits in DIGITS
    )
    found = next(found for found in several if len(found) >= least)
    return found[:: math.ceil(len(found) / MOST_TICKS)]


def short(count: float) -> str:
    """Write a number of parameters such as 0, 500, 8k, 1M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"


@style()
def draw_tuning(tuned: Mapping[str, Tuned], caption: Caption, path: Path) -> None:
    """Draw a line of scores over the learning rates for each adapter, the chosen one marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(4.8, 3.4))
    axes = figure.subplots()
    for name, one in tuned.items():
        colour, marker = look_of(name)
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
    axes.set_ylabel(f"{caption.headline.replace('_', ' ')}, {split}")
    figure.suptitle(f"{caption.task}, {caption.model}", fontsize="medium")
    legend(figure, axes)
    save(figure, path, dpi=200)

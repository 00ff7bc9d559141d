"""Score against parameters and against time, with the adapters that no other beats at both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from goft_cli.comparison.summary import Summary
from goft_cli.comparison.table import Caption
from goft_cli.studies.leaderboard import pareto_front
from goft_cli.system.figures import SECOND_INK, look_of, save, style

FORMATS = ("png", "svg", "pdf")
MAX_IN_LINE = 8
"""Entries of the legend."""
EDGE = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
POINT: dict[str, Any] = {**EDGE, "elinewidth": 1.2, "capsize": 2.5, "linestyle": ""}
DASHED = {"color": SECOND_INK, "linewidth": 1, "linestyle": (0, (4, 2))}
FRONT: dict[str, Any] = {**DASHED, "drawstyle": "steps-post", "zorder": 1}


@style()
def draw(rows: Sequence[Summary], caption: Caption, folder: Path) -> None:
    """Write `comparison.png` and its like, one point per row."""
    figure = Figure(figsize=(7.2, 3.4))
    left, right = figure.subplots(1, 2, sharey=True)
    panel(left, rows, [row.parameters for row in rows], "adapter parameters")
    panel(right, rows, [row.seconds for row in rows], "training time, seconds")
    log_axis(left, [row.parameters for row in rows])
    left.set_ylabel(caption.headline.replace("_", " "))
    figure.suptitle(title(rows, caption), fontsize="medium")
    handles, labels = left.get_legend_handles_labels()
    ncols = min(len(labels), MAX_IN_LINE)
    place = {"loc": "outside lower center", "ncols": ncols, "columnspacing": 1.2}
    figure.legend(handles, labels, handletextpad=0.3, **place)
    for suffix in FORMATS:
        save(figure, folder / f"comparison.{suffix}", dpi=200)


def title(rows: Sequence[Summary], caption: Caption) -> str:
    """Name the data, and what point and bar are."""
    seeds = len(rows[0].results)
    shown = f"mean and standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    return f"{caption.task}, {caption.model} ({shown})"


def panel(axes: Axes, rows: Sequence[Summary], costs: Sequence[float], label: str) -> None:
    """Draw one point per adapter with its spread, and the front below them."""
    merits = [row.mean if row.greater_is_better else -row.mean for row in rows]
    front = pareto_front(costs, merits)
    for row, cost in zip(rows, costs, strict=True):
        colour, marker = look_of(row.adapter)
        shown = {"color": colour, "marker": marker, "label": row.adapter}
        axes.errorbar(cost, row.mean, yerr=row.deviation, **shown, **POINT)
    ends = [(costs[index], rows[index].mean) for index in front]
    axes.plot(*zip(*ends, strict=True), label="Pareto front", **FRONT)
    axes.set_xlabel(label)


def log_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Scale by powers of ten, with a place for an adapter without parameters."""
    positive = [count for count in counts if count]
    if not positive:
        return
    smallest = 10 ** math.floor(math.log10(min(positive)))
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    largest = 10 ** math.ceil(math.log10(max(positive)))
    decades = [smallest * 10**power for power in range(round(math.log10(largest / smallest)) + 1)]
    axes.set_xticks([0, *decades] if 0 in counts else decades)
    axes.set_xlim(-0.2 * smallest if 0 in counts else 0.8 * min(positive), 1.3 * max(positive))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def short(count: float) -> str:
    """Write a number of parameters as people say it: 0, 500, 8k, 1M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"

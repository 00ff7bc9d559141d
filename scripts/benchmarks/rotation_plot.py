"""Plot the time of the rotation alone, against the width and against the number of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goft_cli.system.figures import label_log_axis, style
from goft_cli.system.palette import COLOURS
from scripts.benchmarks.rotations import AUTO, BOTH, FORWARD, Timed

LINES = {BOTH: "-", FORWARD: "--"}


@style()
def draw(widths: Sequence[Timed], counts: Sequence[Timed], title: str, path: Path) -> None:
    """Draw both panels and write the figure.

    Args:
        widths: times of "auto" by width, at one number of vectors.
        counts: times of "auto" and all engines by number of vectors, at one width.
        title: text above both panels.
        path: the PNG file.
    """
    figure = Figure(figsize=(11, 5.4))
    left, right = figure.subplots(1, 2)
    _against_width(left, widths)
    _against_count(right, counts)
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            label_log_axis(axis, *axis.get_view_interval())
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)


def _against_width(axes: Axes, timed: Sequence[Timed]) -> None:
    axes.set(xlabel="width d", ylabel="nanoseconds per vector")
    axes.set_title(f"chosen engine, {timed[0].tokens:,} vectors")
    whole = [one for one in timed if one.dim % 2 == 0]
    for colour, passes in zip(COLOURS, LINES, strict=False):
        for some, line, label in ((whole, "o-", passes), (timed, "x", f"{passes}, odd d")):
            chosen = [
                one for one in some if one.passes == passes and (some is whole or one.dim % 2)
            ]
            costs = [1e9 * one.median / one.tokens for one in chosen]
            axes.plot([one.dim for one in chosen], costs, line, color=colour, label=label)
    ends = sorted((one.dim, one.median / one.tokens) for one in whole if one.passes == FORWARD)
    (low, _), (high, cost) = ends[0], ends[-1]
    axes.plot(
        [low, high], [1e9 * cost * low / high, 1e9 * cost], ":", color="black", label="linear in d"
    )


def _against_count(axes: Axes, timed: Sequence[Timed]) -> None:
    axes.set(xlabel="number of vectors", ylabel="milliseconds")
    axes.set_title(f"all engines, d = {timed[0].dim:,}")
    engines = [name for name in dict.fromkeys(one.engine for one in timed) if name != AUTO]
    for passes, line in LINES.items():
        for colour, engine in zip(COLOURS, engines, strict=False):
            _line(axes, timed, engine, passes, color=colour, linestyle=line, marker=".")
        # A wide, pale line below the engines' lines: it follows the engine that "auto" chooses.
        _line(axes, timed, AUTO, passes, color="#999999", linewidth=7, alpha=0.4, zorder=1)


def _line(axes: Axes, timed: Sequence[Timed], engine: str, passes: str, **style: Any) -> None:  # noqa: ANN401 - passed on
    found = [one for one in timed if (one.engine, one.passes) == (engine, passes)]
    times = [1e3 * one.median for one in found]
    axes.plot([one.tokens for one in found], times, label=f"{engine}, {passes}", **style)

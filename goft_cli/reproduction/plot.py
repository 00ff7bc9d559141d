"""Ours against the paper's, a panel for each number of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.reproduction.comparison import Comparison
from goft_cli.system.figures import COLOURS, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, PAPER = COLOURS[:2]
MOST_COLUMNS = 3
PANEL_WIDTH, LINE_HEIGHT, PANEL_MARGIN = 4.2, 0.32, 0.9


@style()
def plot(found: Sequence[Comparison], path: Path) -> None:
    """Draw mean, deviation and seeds of ours beside the paper's number, by method, as PNG."""
    from matplotlib.figure import Figure

    panels = by_panel(found)
    columns = min(MOST_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    height = LINE_HEIGHT * max(map(len, panels.values())) + PANEL_MARGIN
    size = (max(columns, 1.4) * PANEL_WIDTH, lines * height + 0.4)
    figure = Figure(figsize=size)
    grid: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, (title, group) in zip(grid, panels.items(), strict=False):
        draw_panel(axes, title, group)
    entries = [axes.get_legend_handles_labels() for axes in figure.axes]
    once = {label: handle for pair in entries for handle, label in zip(*pair, strict=True)}
    figure.legend(once.values(), once.keys(), loc="outside upper right", ncols=3)
    save(figure, path)


def by_panel(found: Sequence[Comparison]) -> Mapping[str, list[Comparison]]:
    """Group what shares an axis: one measure of one recipe."""
    panels: dict[str, list[Comparison]] = {}
    for one in found:
        title = f"{one.recipe}, {one.measure.replace('_', ' ')}"
        panels.setdefault(title, []).append(one)
    return panels


def draw_panel(axes: Axes, title: str, group: Sequence[Comparison]) -> None:
    """Draw one line per method, the first on top."""
    for place, one in enumerate(group):
        seeds = list(one.ours.values())
        axes.plot(seeds, [place] * len(seeds), "|", color=OURS, label="our seeds")
        bar = {"xerr": one.deviation, "fmt": "o"}
        axes.errorbar(one.mean, place, color=OURS, label="ours, mean ± deviation", **bar)
        if one.paper is not None:
            axes.plot(one.paper, place, "D", color=PAPER, mfc="none", label="the paper's")
    axes.set_yticks(range(len(group)), [one.method for one in group])
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_title(title)
    axes.grid(visible=False, axis="y")

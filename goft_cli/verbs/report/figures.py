"""The figures of a page: vector graphics in its own colours, light or dark."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goft_cli.run.layers import LayerReport, by_stage
from goft_cli.run.record import RunRecord
from goft_cli.system.figures import COLOURS, GRID, INK, SECOND_INK, image, look_of, style

BINS = 41
WHOLE_PAGE = 10.8
"""Inches at which a figure's letters are as large as those of half a page."""
MAX_ROWS = 80
"""Layers whose names and rows are still told apart."""
CSS = {
    INK: "var(--ink)",
    SECOND_INK: "var(--muted)",
    GRID: "var(--rule)",
    COLOURS[0].lower(): "var(--blue)",
    "#ffffff": "none",
}
"""The page's own colours, by those of a figure that they replace."""


def blank(width: float = 5.2, height: float = 2.9) -> tuple[Figure, Axes]:
    """Return a figure of one panel; width and height in inches, by default half a page."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def as_svg(figure: Figure) -> str:
    """Return the figure as an SVG element that scales, and takes the page's colours and font."""
    svg = image(figure, "svg", dpi=72).decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"', r"\1", svg, count=2)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--font)", svg)
    for colour, variable in CSS.items():
        svg = svg.replace(colour, variable)
    return svg


@style()
def curves(runs: Sequence[RunRecord], keys: dict[str, str], title: str) -> Figure | None:
    """Draw values over updates, one colour per adapter; None if nothing was logged.

    `keys` are those of the history, with the style of each one's line.
    """
    figure, axes = blank()
    for run in runs:
        colour, _ = look_of(run.cfg.adapter.name)
        for key, line in keys.items():
            if points := run.series(key):
                axes.plot(*zip(*points, strict=True), line, color=colour)
    if not axes.lines:
        return None
    for name in dict.fromkeys(run.cfg.adapter.name for run in runs):
        axes.plot([], [], color=look_of(name)[0], label=name)
    axes.set(xlabel="updates", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.legend(ncols=2)
    return figure


@style()
def angles_by_layer(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw the histogram of every layer's angles as one row of colours, by depth."""
    turning = [layer for layer in layers if len(layer.pair_angles)][:MAX_ROWS]
    if not turning:
        return None
    limit = max(float(np.abs(layer.pair_angles).max()) for layer in turning) or 1.0
    edges = np.linspace(-limit, limit, BINS + 1)
    shares = np.stack(
        [np.histogram(one.pair_angles, edges)[0] / len(one.pair_angles) for one in turning]
    )
    figure, axes = blank(WHOLE_PAGE, 1.2 + 0.17 * len(turning))
    axes.grid(visible=False)
    rows, scale = np.arange(len(turning) + 1), SymLogNorm(1, vmin=0)
    filled = {"cmap": "cividis", "norm": scale, "edgecolors": "face", "linewidth": 0.2}
    mesh = axes.pcolormesh(edges, rows, 100 * shares, **filled)
    axes.set_yticks(rows[:-1] + 0.5, [one.place for one in turning])
    axes.invert_yaxis()
    ticks = [0, 1, 3, 10, 30, 100]
    bar = figure.colorbar(mesh, ax=axes, ticks=ticks, format="%g", pad=0.02, aspect=30)
    bar.set_label("% of the layer's pairs")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - typed as a list
    axes.set_xlabel("angle of a pair, degrees")
    return figure


@style()
def turned(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw how far the weights of each kind of layer turned, block by block."""
    kinds = list(dict.fromkeys(layer.kind for layer in layers if layer.depth is not None))
    if not kinds:
        return None
    figure, axes = blank()
    for kind in kinds:
        points = [(one.depth, one.turned) for one in layers if one.kind == kind]
        axes.plot(*zip(*points, strict=True), "o-", label=kind)
    axes.set(xlabel="block", ylabel="mean turn of a neuron, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return figure


@style()
def stages(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw how far pairs turn at each stage of the tree, from neighbours to the two halves."""
    means = by_stage(layers)
    if not means:
        return None
    figure, axes = blank()
    axes.bar(list(means), list(means.values()), color=COLOURS[0], width=0.7)
    axes.set(xlabel="stage (distance of a pair: 1, 2, 4, ...)", ylabel="mean |angle|, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    return figure

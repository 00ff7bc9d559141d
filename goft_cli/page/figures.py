"""The figures of a page: vector graphics in its own colours, light or dark, and PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goft_cli.page.layers import LayerReport, by_stage
from goft_cli.palette import COLOURS, GRID, INK, SECOND_INK
from goft_cli.runs.record import RunRecord

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
"""Which colours of a figure are the page's to choose."""


def blank(width: float = 5.2, height: float = 2.9) -> tuple[Figure, Axes]:
    """Return a figure of one panel in the page's ink, by default as wide as half a page."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def label(axes: Axes, x: str, y: str) -> None:
    """Name both axes in the page's ink."""
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)


def as_svg(figure: Figure) -> str:
    """Return the figure as an SVG element that scales, and takes the page's colours and font."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "goft", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"', r"\1", svg, count=2)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--font)", svg)
    for colour, variable in CSS.items():
        svg = svg.replace(colour, variable)
    return svg


def as_png(figure: Figure) -> bytes:
    """Return the figure on white."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=180)
    return image.getvalue()


def curves(runs: Sequence[RunRecord], keys: dict[str, str], title: str) -> Figure | None:
    """Draw logged values over updates, one colour per adapter.

    Args:
        runs: whose histories to draw.
        keys: of the history, with the style of each one's line.
        title: of the vertical axis.

    Returns:
        None if nothing was logged under the keys.
    """
    figure, axes = blank()
    adapters = list(dict.fromkeys(run.cfg.adapter.name for run in runs))
    for run in runs:
        colour = COLOURS[adapters.index(run.cfg.adapter.name) % len(COLOURS)]
        for key, style in keys.items():
            points = run.series(key)
            if points:
                axes.plot(*zip(*points, strict=True), style, color=colour, markersize=4, lw=1.3)
    if not axes.lines:
        return None
    for name in adapters:
        colour = COLOURS[adapters.index(name) % len(COLOURS)]
        axes.plot([], [], color=colour, label=name)
    label(axes, "updates", title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend(axes)
    return figure


def legend(axes: Axes) -> None:
    """Name the lines, without a frame."""
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, ncols=2)


def angles_by_layer(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw the histogram of every layer's angles as one row of colours, by depth."""
    turning = [layer for layer in layers if len(layer.pair_angles)][:MAX_ROWS]
    if not turning:
        return None
    limit = max(float(layer.pair_angles.abs().max()) for layer in turning) or 1.0
    edges = np.linspace(-limit, limit, BINS + 1)
    shares = np.stack(
        [np.histogram(one.pair_angles.cpu(), edges)[0] / len(one.pair_angles) for one in turning]
    )
    figure, axes = blank(WHOLE_PAGE, 1.2 + 0.17 * len(turning))
    axes.grid(visible=False)
    mesh = axes.pcolormesh(
        edges,
        np.arange(len(turning) + 1),
        100 * shares,
        cmap="cividis",
        norm=SymLogNorm(1, vmin=0),
        edgecolors="face",
        linewidth=0.2,
    )
    axes.set_yticks(np.arange(len(turning)) + 0.5, [one.place for one in turning])
    axes.invert_yaxis()
    colour_bar(figure, axes, mesh, "% of the layer's pairs")
    label(axes, "angle of a pair, degrees", "")
    return figure


def colour_bar(figure: Figure, axes: Axes, mesh: object, title: str) -> None:
    """Explain colours by a bar in the page's ink."""
    shares = [0, 1, 3, 10, 30, 100]
    bar = figure.colorbar(mesh, ax=axes, ticks=shares, format="%g", pad=0.02, aspect=30)  # pyright: ignore[reportArgumentType] - pcolormesh's type is private
    bar.set_label(title, color=INK, fontsize=8.5)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - typed as a list


def turned(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw how far the weights of each kind of layer turned, block by block."""
    kinds = list(dict.fromkeys(layer.kind for layer in layers if layer.depth is not None))
    if not kinds:
        return None
    figure, axes = blank()
    for index, kind in enumerate(kinds):
        points = [(one.depth, one.turned) for one in layers if one.kind == kind]
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=kind, markersize=4, lw=1.3)
    label(axes, "block", "mean turn of a neuron, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=7.5, labelcolor=INK)
    return figure


def stages(layers: Sequence[LayerReport]) -> Figure | None:
    """Draw how far pairs turn at each stage of the tree, from neighbours to the two halves."""
    means = by_stage(layers)
    if not means:
        return None
    figure, axes = blank()
    axes.bar(list(means), list(means.values()), color=COLOURS[0], width=0.7)
    label(axes, "stage (distance of a pair: 1, 2, 4, ...)", "mean |angle|, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    return figure

"""The figures of a page: vector graphics in its own colours, light or dark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goft_cli.run.layers import LayerReport, by_stage
from goft_cli.run.record import RunRecord
from goft_cli.system.figures import GRID, INK, PANEL, SECOND_INK, image, legend, style
from goft_cli.system.palette import COLOURS, MARKERS, Look

BINS = 41
WHOLE_PAGE = 10.8
"""Inches at which a figure's letters are as large as those of half a page."""
MAX_ROWS = 80
"""The most layers whose names and rows can be distinguished."""
CELLS = 20
"""The most classes for a readable confusion matrix, and the pairs drawn if there are more."""
FEW = 6
"""The most classes for which half a page is wide enough."""
LETTERS, LINE_LETTERS = 24, 40
"""The most letters of a class beside a figure, and of all classes in one line below it."""
HALF = 0.5
ON_LIGHT, ON_DARK = "#101010", "#f5f5f5"
"""Letters on cells, whose colours are the same on a light and a dark page."""
CSS = {
    INK: "var(--ink)",
    SECOND_INK: "var(--muted)",
    GRID: "var(--rule)",
    "#ffffff": "none",
}
"""The page's own colours, by those of a figure that they replace."""


def blank(width: float = PANEL[0], height: float = PANEL[1]) -> tuple[Figure, Axes]:
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


def by_rows(rows: int) -> tuple[Figure, Axes]:
    """Return a figure of one panel: half a page for a few rows, the whole width for more."""
    return blank() if rows <= FEW else blank(WHOLE_PAGE, 1.2 + 0.3 * rows)


@style()
def curves(
    runs: Sequence[RunRecord], looks: Mapping[str, Look], keys: Mapping[str, str], title: str
) -> Figure | None:
    """Draw values over updates, one colour per adapter; None if nothing was logged.

    `keys` are those of the history, with the style of each one's line; evaluations have markers.
    """
    figure, axes = blank()
    for run in runs:
        colour, marker = looks[run.adapter]
        for key, line in keys.items():
            shown: dict[str, Any] = {"marker": marker} if key.startswith("eval_") else {}
            if points := run.series(key):
                axes.plot(*zip(*points, strict=True), line, color=colour, **shown)
    if not axes.lines:
        return None
    for name in dict.fromkeys(run.adapter for run in runs):
        axes.plot([], [], color=looks[name].colour, marker=looks[name].marker, label=name)
    axes.set(xlabel="updates", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend(figure, axes)
    return figure


@style()
def confusion(found: Mapping[str, Any], look: Look) -> Figure | None:
    """Draw the confusion matrix of `classes.json`, or of more than `CELLS` classes the worst pairs.

    A row is a true class, its colours shares of it. Return None if no rows were predicted.
    """
    names, counts = list(found["classes"]), found["confusion"]
    if not counts:
        return None
    if len(names) > CELLS:
        return confused_pairs(counts, look)
    table = np.array([[counts.get(true, {}).get(one, 0) for one in names] for true in names])
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = by_rows(len(names))
    axes.grid(visible=False)
    axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=1, edgecolors="face", linewidth=0.2)
    for (row, column), count in np.ndenumerate(table):
        if count:
            ink = ON_LIGHT if shares[row, column] > HALF else ON_DARK
            place = {"ha": "center", "va": "center", "size": 8}
            axes.text(column + HALF, row + HALF, f"{count:,}", color=ink, **place)
    places, short = np.arange(len(names)) + HALF, [shortened(name) for name in names]
    columns = short
    if max(map(len, short)) * len(names) > LINE_LETTERS:
        columns = [str(number) for number in range(1, len(names) + 1)]
        short = [f"{name}  {number}" for name, number in zip(short, columns, strict=True)]
    axes.set_xticks(places, columns)
    axes.set_yticks(places, short)
    axes.invert_yaxis()
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def confused_pairs(counts: Mapping[str, Mapping[str, int]], look: Look) -> Figure | None:
    """Draw the pairs of a true and another predicted class with most rows."""
    rows = [(n, true, one) for true, row in counts.items() for one, n in row.items() if one != true]
    most = sorted(rows, key=lambda row: (-row[0], *row[1:]))[:CELLS][::-1]
    if not most:
        return None
    figure, axes = by_rows(len(most))
    labels = [f"{shortened(true)} taken for {shortened(one)}" for _, true, one in most]
    bars = axes.barh(range(len(most)), [n for n, *_ in most], color=look.colour, height=0.7)
    axes.set_yticks(range(len(most)), labels)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows")
    return figure


@style()
def class_bars(found: Mapping[str, Any], look: Look) -> Figure:
    """Draw each class's F1 as a bar, precision and recall on it; of many classes the lowest F1s."""
    classes = found["classes"]
    names = list(classes)
    if len(names) > CELLS:
        names = sorted(names, key=lambda name: classes[name]["f1"])[:CELLS]
    figure, axes = by_rows(len(names))
    rows = range(len(names))
    scores = {key: [classes[name][key] for name in names] for key in ("f1", "precision", "recall")}
    filled: dict[str, Any] = {"color": (look.colour, 0.45), "edgecolor": look.colour}
    axes.barh(rows, scores["f1"], **filled, height=0.7, label="F1")
    axes.plot(scores["precision"], rows, "o", color=INK, label="precision")
    axes.plot(scores["recall"], rows, "D", color=INK, mfc="none", label="recall")
    axes.set_yticks(rows, [shortened(name) for name in names])
    axes.set_xlim(0, 1.02)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    legend(figure, axes)
    return figure


def shortened(name: str) -> str:
    """Return a class's name so that it fits beside a figure: long ones often differ at the end."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[1 - half :]}"


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
    for kind, colour, marker in zip(kinds, cycle(COLOURS), cycle(MARKERS), strict=False):
        points = [(one.depth, one.turned) for one in layers if one.kind == kind]
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=kind)
    axes.set(xlabel="block", ylabel="mean turn of a\nneuron, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    legend(figure, axes)
    return figure


@style()
def stages(layers: Sequence[LayerReport], look: Look) -> Figure | None:
    """Draw how far pairs turn at each stage of the tree, from neighbours to the two halves."""
    means = by_stage(layers)
    if not means:
        return None
    figure, axes = blank()
    axes.bar(list(means), list(means.values()), color=look.colour, width=0.7)
    axes.set(xlabel="stage (distance of a pair: 1, 2, 4, ...)", ylabel="mean |angle|, degrees")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    return figure

"""Figures: their style, legends and log axes, and how they are written to files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.system.files import write_bytes
from goft_cli.system.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, SECOND_INK, GRID = "#222222", "#777777", "#e3e3e3"
STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler(color={list(COLOURS)})",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "goft",  # no random ids: the same numbers give the same file
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}
PANEL = (5.2, 2.9)
"""Width and height in inches of a figure of one panel: half of a report's page."""
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata by format that leaves the date out of a file."""
MOST_TICKS = 6
DIGITS = ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(number / 10 for number in range(10, 100)))
"""First digits of ticks, more and more of them."""


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of all figures; a decorator, too."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def legend(figure: Figure, *drawn: Axes) -> None:
    """Put one legend of these axes below all, in as many columns as the width has room for.

    It covers nothing, as constrained layout makes room for it. Without labels there is none.
    """
    entries = {
        label: handle
        for axes in drawn
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    place: dict[str, Any] = {"loc": "outside lower center", "columnspacing": 1.2}
    for lines in range(1, len(entries) + 1):
        columns = math.ceil(len(entries) / lines)
        shown = figure.legend(entries.values(), entries, ncols=columns, handletextpad=0.3, **place)
        if shown.get_window_extent().width <= figure.bbox.width:
            return
        if lines < len(entries):
            shown.remove()


def label_log_axis(axis: Axis, low: float, high: float, *, zero: bool = False) -> None:
    """Label a logarithmic axis from `low` to `high` at two places or more, and at 0 with `zero`.

    `high` is at least 1.3 times `low`.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator([0.0] * zero + ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_locator(NullLocator())


def ticks(low: float, high: float) -> list[float]:
    """Return two places or more to label on a logarithmic axis: powers of ten if they do.

    `high` is at least 1.3 times `low`.
    """
    decades = [10.0**power for power in range(math.floor(math.log10(low)), 19)]
    several = (
        [digit * one for one in decades for digit in digits if low <= digit * one <= high]
        for digits in DIGITS
    )
    found = next(found for found in several if len(found) >= 2)
    return found[:: math.ceil(len(found) / MOST_TICKS)]


def short(count: float) -> str:
    """Write a number such as 0.01, 500, 8k, 1M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"


@style()  # ticks are made when they are first drawn
def image(figure: Figure, kind: str, dpi: float) -> bytes:
    """Return a figure as a file of that format, `png`, `svg` or `pdf`."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dpi, metadata=UNDATED.get(kind))
    return content.getvalue()


def save(figure: Figure, path: Path, dpi: float = 130) -> None:
    """Write a figure, whole or not at all, in the format that its name ends in."""
    write_bytes(path, image(figure, path.suffix.removeprefix("."), dpi))

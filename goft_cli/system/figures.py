"""Figures: their palette, their style, and how they are written to files."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1"),
    *("#7F7F7F", "#994455", "#999933", "#44AA99"),
    *("#332288", "#88CCEE", "#117733", "#DDCC77", "#AA4499"),
)
"""Okabe and Ito's without black and pale yellow, which a dark or a white page would hide, and a
purple: these are told apart with any colour vision and in grey. Those after need their markers.
"""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h", "H", "d", "8", "|")
ADAPTERS = (
    *("goft", "qgoft", "lora", "linear", "oft", "boft", "hra"),
    *("full", "adalora", "bitfit", "goft-scaled"),
    *("dora", "psoft", "road", "vera", "ia3"),
)
"""In the order of their colours."""
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
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata by format that leaves the date out of a file."""


def look_of(adapter: str) -> tuple[str, str]:
    """Return an adapter's colour and marker, the same in every figure.

    Those that come with goft have their own; a user's may share another's.
    """
    known = adapter in ADAPTERS
    place = ADAPTERS.index(adapter) if known else zlib.crc32(adapter.encode()) % len(COLOURS)
    return COLOURS[place], MARKERS[place]


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of all figures; a decorator, too."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


@style()  # ticks are made when they are first drawn
def image(figure: Figure, kind: str, dpi: float) -> bytes:
    """Return a figure as a file of that format, `png`, `svg` or `pdf`."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dpi, metadata=UNDATED.get(kind))
    return content.getvalue()


def save(figure: Figure, path: Path, dpi: float = 130) -> None:
    """Write a figure, whole or not at all, in the format that its name ends in."""
    write_bytes(path, image(figure, path.suffix.removeprefix("."), dpi))

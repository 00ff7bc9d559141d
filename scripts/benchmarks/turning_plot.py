"""The rotation's cost in two panels: against the width, and against the number of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Records = Sequence[dict[str, Any]]

# Okabe and Ito's palette: told apart with any colour vision, and by their markers in grey.
STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]
LINES = {"forward+backward": "-", "forward": "--"}
KIND = "strict"


def draw(widths: Records, tokens: Records, subtitle: str, path: Path) -> None:
    """Write the figure; strict rotations alone, quasi ones are in the JSON file."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines(left, widths, "width")
    guide(left, widths)
    lines(right, tokens, "tokens")
    left.set(title=f"{fixed(widths, 'tokens')} vectors", xlabel="width d of a vector")
    right.set(title=f"vectors of {fixed(tokens, 'width')}", xlabel="number of vectors")
    for axes, records, key in ((left, widths, "width"), (right, tokens, "tokens")):
        axes.set(xscale="log", yscale="log", ylabel="nanoseconds per vector")
        ticks = sorted({record[key] for record in records})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=45, fontsize=8)
        axes.set_xticks([], minor=True)
        axes.grid(visible=True, which="major", color="#dddddd")
    # The left panel has every line of the right one, and the guide.
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"Rotation R$^T$x, {subtitle}", fontsize=11)
    figure.savefig(path, dpi=150)


def lines(axes: Axes, records: Records, key: str) -> None:
    """Draw one line per engine and pass."""
    engines = [name for name in dict.fromkeys(r["engine"] for r in records) if name != "copy"]
    for (colour, marker), engine in zip(STYLES, engines, strict=False):
        for what, line in LINES.items():
            found = [
                r for r in records if (r["engine"], r["kind"], r["pass"]) == (engine, KIND, what)
            ]
            found.sort(key=lambda r: r[key])
            axes.plot(
                [r[key] for r in found],
                [r["ns_per_token"]["median"] for r in found],
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=line,
                label=f"{engine}, {what}",
            )


def guide(axes: Axes, records: Records) -> None:
    """Draw what a cost linear in the width would be, through the cheapest line's last point."""
    found = [r for r in records if (r["kind"], r["pass"]) == (KIND, "forward")]
    if not found:
        return
    low, high = (choose(r["width"] for r in found) for choose in (min, max))
    end = min(r["ns_per_token"]["median"] for r in found if r["width"] == high)
    axes.plot(
        [low, high],
        [end * low / high, end],
        color="#777777",
        linestyle=":",
        linewidth=2,
        label="linear in d",
    )


def fixed(records: Records, key: str) -> str:
    """Return the value that all records have in common."""
    return ", ".join(f"{value:,}" for value in sorted({r[key] for r in records}))

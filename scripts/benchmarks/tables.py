"""Lay out the rows of a benchmark as tables, for the screen and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from scripts.benchmarks.timing import Samples

HEADINGS = ("adapter", "params", "ms", "quartiles", "ratio", "overhead", "memory")

Record = dict[str, str | float]
"""A row: its values by column."""


@dataclass(frozen=True)
class Row:
    """The measurements of one candidate.

    Attributes:
        name: name of the candidate.
        low: first quartile in milliseconds.
        median: median in milliseconds.
        high: third quartile in milliseconds.
        trainable: number of adapter parameters; None if nothing trains.
        peak: bytes of memory; None if it was not measured.
    """

    name: str
    low: float
    median: float
    high: float
    trainable: int | None = None
    peak: int | None = None


def row_of(
    name: str, samples: Samples, trainable: int | None = None, peak: int | None = None
) -> Row:
    """Return the row of one candidate, with its times in milliseconds."""
    low, median, high = (1e3 * s for s in (samples.low, samples.median, samples.high))
    return Row(name, low, median, high, trainable, peak)


def table_of(title: str, rows: Sequence[Row], reference: str, floor: str) -> Table:
    """Return the table of the rows, without empty columns.

    Args:
        title: text above the table.
        rows: rows in the order to show them.
        reference: name of the row by whose time the others are divided, if there is one.
        floor: name of the row beyond which overhead and memory are counted, if there is one.
    """
    by_name = {row.name: row for row in rows}
    cells = [
        (
            row.name,
            "" if row.trainable is None else f"{row.trainable:,}",
            f"{row.median:.4g}",
            f"{row.low:.4g}-{row.high:.4g}",
            *_ratios(row, by_name.get(reference), by_name.get(floor)),
        )
        for row in rows
    ]
    captions = (("ratio to", reference), ("overhead and memory over", floor))
    table = Table(title=title)
    table.caption = "; ".join(f"{what} {name}" for what, name in captions if name in by_name)
    columns = [column for column in zip(HEADINGS, *cells, strict=True) if any(column[1:])]
    for heading, *_ in columns:
        table.add_column(
            heading, justify="left" if heading == HEADINGS[0] else "right", no_wrap=True
        )
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table


def _ratios(row: Row, reference: Row | None, floor: Row | None) -> tuple[str, str, str]:
    ratio = "" if reference is None else f"{row.median / reference.median:.2f}"
    overhead = "" if floor is None else f"{100 * (row.median / floor.median - 1):+.0f} %"
    if row.peak is None or floor is None or floor.peak is None:
        return ratio, overhead, ""
    return ratio, overhead, f"{(row.peak - floor.peak) / 2**20:+.0f} MB"


def microseconds(samples: Samples, calls: int = 1) -> Record:
    """Return median and quartiles of one call in microseconds, from samples of `calls` calls."""
    low, median, high = (1e6 * s / calls for s in (samples.low, samples.median, samples.high))
    return {"us": round(median, 1), "low": round(low, 1), "high": round(high, 1)}


def markdown_of(records: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table of records, which may have different columns."""
    columns = list(dict.fromkeys(column for record in records for column in record))
    cells = [[str(record.get(column, "")) for column in columns] for record in records]
    lines = [columns, ["---"] * len(columns), *cells]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)

"""The rows of a comparison for the terminal, for a document, and for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from goft_cli.comparison.statistics import CONFIDENCE, Difference
from goft_cli.comparison.summary import Summary, same_machine

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Caption:
    """What a table or figure must say besides its numbers."""

    task: str
    model: str
    headline: str
    reference: str
    budget: str

    @property
    def title(self) -> str:
        """One line above."""
        return f"{self.task}  {self.model}"


def header(caption: Caption) -> list[str]:
    """Return the names of the columns."""
    score = caption.headline.replace("_", " ")
    against = f"difference to {caption.reference}, {CONFIDENCE:.0%} interval"
    return ["adapter", "size", "parameters", score, "best", against, "time", "memory"]


def cells(row: Summary) -> list[str]:
    """Return one line of text per column."""
    spread = "" if row.deviation is None else f" ± {row.deviation:.3f}"
    return [
        row.adapter,
        row.setting,
        f"{row.parameters:,}",
        f"{row.mean:.3f}{spread}".replace("-", MINUS),
        f"{row.best:.3f}".replace("-", MINUS),
        "reference" if row.difference is None else difference_text(row.difference),
        f"{row.seconds:.1f} s",
        f"{row.memory / 2**20:,.0f} MB",
    ]


def difference_text(difference: Difference) -> str:
    """Return mean and interval, such as `+0.031 [-0.010, +0.072]`."""
    ends = difference.interval
    interval = "one seed" if ends is None else f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"
    return f"{difference.mean:+.3f} {interval}".replace("-", MINUS)


def notes(rows: Sequence[Summary], caption: Caption) -> list[str]:
    """Return what a reader should know, one sentence each."""
    seeds = [result.seed for result in rows[0].results]
    listed = ", ".join(map(str, seeds))
    said = [
        f"Mean ± standard deviation over {len(seeds)} seeds ({listed}); time and memory: medians."
        if len(seeds) > 1
        else f"A single seed ({listed}): nothing here tells one adapter from another.",
        "Interval: Student's t on the differences seed by seed, each comparison by itself.",
        "Parameters: the adapter's; head and pooler train beside all of them.",
        caption.budget,
    ]
    if not same_machine([result for row in rows for result in row.results]):
        said.append("The runs were made on different machines or versions: do not compare times.")
    return said


def for_screen(rows: Sequence[Summary], caption: Caption) -> Table:
    """Lay the rows out in the terminal, two lines each, so that 80 columns hold them."""
    adapter, size, parameters, score, best, _, time, memory = header(caption)
    table = Table(title=caption.title, box=SIMPLE, title_justify="left")
    table.add_column(f"{adapter}\n{size}", no_wrap=True)
    against = f"to {caption.reference}\n{CONFIDENCE:.0%} interval"
    for name in (f"{score}\n{best}", against, f"{time}\n{memory}", parameters):
        table.add_column(name, justify="right")
    for row in rows:
        name, setting, count, mean, highest, difference, seconds, peak = cells(row)
        to_reference, _, interval = difference.partition(" ")
        pairs = ((name, setting), (mean, highest), (to_reference, interval), (seconds, peak))
        table.add_row(
            *(Text.assemble(f"{upper}\n", (lower, "dim")) for upper, lower in pairs), count
        )
    return table


def markdown(rows: Sequence[Summary], caption: Caption) -> str:
    """Lay the rows out for a document, with the notes below."""
    names = header(caption)
    rule = ["---" if index < 2 else "---:" for index in range(len(names))]
    lines = [names, rule, *(cells(row) for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    said = "\n".join(f"- {note}" for note in notes(rows, caption))
    return f"**{caption.title}**\n\n{table}\n\n{said}\n"


def summary_csv(rows: Sequence[Summary]) -> str:
    """Return one line per adapter, numbers unrounded."""
    return written([summary_fields(row) for row in rows])


def summary_fields(row: Summary) -> dict[str, object]:
    """Return a row's numbers by name; empty where there is none."""
    difference = row.difference
    low, high = (difference.interval if difference else None) or ("", "")
    return {
        "adapter": row.adapter,
        "size": row.setting,
        "parameters": row.parameters,
        "head_parameters": row.results[0].head_parameters,
        "seeds": len(row.results),
        "mean": row.mean,
        "standard_deviation": "" if row.deviation is None else row.deviation,
        "best": row.best,
        "difference": "" if difference is None else difference.mean,
        "interval_low": low,
        "interval_high": high,
        "train_seconds": row.seconds,
        "peak_memory_bytes": row.memory,
    }


def runs_csv(rows: Sequence[Summary]) -> str:
    """Return one line per run."""
    return written(
        [
            {
                "adapter": result.adapter,
                "size": row.setting,
                "seed": result.seed,
                "score": result.score,
                "parameters": result.parameters,
                "head_parameters": result.head_parameters,
                "train_seconds": result.train_seconds,
                "peak_memory_bytes": result.peak_memory_bytes,
                "folder": str(result.folder.path),
            }
            for row in rows
            for result in row.results
        ]
    )


def written(lines: Sequence[Mapping[str, object]]) -> str:
    """Write lines of equal fields as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()

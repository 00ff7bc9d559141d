"""A table of plain cells, for the screen, for a document and for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import Console

from goft_cli.system.errors import GoftError

if TYPE_CHECKING:
    from rich.table import Table as RichTable


LAYOUTS: dict[str, dict[str, Any]] = {
    "l": {},
    "r": {"justify": "right"},
    "f": {"overflow": "fold"},
    "w": {"no_wrap": True},
    "R": {"justify": "right", "no_wrap": True},
}
"""What a letter says of a column: to the left; to the right; words broken, not cut, where they are
too wide; whole lines, to the left; whole lines, to the right."""


class Styled(str):
    """A cell that the screen shows in one of rich's styles."""

    style = ""


def styled(style: str, *cells: str) -> list[Styled]:
    """Return cells in one of rich's styles."""
    row = [Styled(cell) for cell in cells]
    for cell in row:
        cell.style = style
    return row


@dataclass(frozen=True)
class Table:
    """Columns and rows; rich's consoles print it as it is.

    Attributes:
        columns: their names.
        rows: cells of text or numbers, None for nothing; an empty row is a line across.
        title: above it on the screen, centred if `centred`.
        layout: a letter of `LAYOUTS` per column; the last one is that of all further columns.
        caption: below it on the screen.
        framed: whether the screen has lines between the columns.
        min_width: on the screen, in characters.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    layout: str = "l"
    caption: str | None = None
    centred: bool = True
    framed: bool = True
    min_width: int | None = None

    def __rich__(self) -> RichTable:
        """Lay it out for the screen; brackets are text, not markup."""
        from rich import markup
        from rich.box import HEAVY_HEAD, SIMPLE
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=markup.escape(self.title),
            caption=self.caption,
            box=HEAVY_HEAD if self.framed else SIMPLE,
            title_justify="center" if self.centred else "left",
            show_header=any(self.columns),
            min_width=self.min_width,
        )
        for column, letter in zip(self.columns, self.letters, strict=True):
            table.add_column(markup.escape(column), **LAYOUTS[letter])
        for row in self.rows:
            if row:
                table.add_row(*(Text(written(cell), getattr(cell, "style", "")) for cell in row))
            else:
                table.add_section()
        return table

    @property
    def letters(self) -> str:
        """The layout of every column."""
        return self.layout.ljust(len(self.columns), self.layout[-1])

    def markdown(self) -> str:
        """Return header and rows for a document, without the title."""
        rule = ["---:" if letter in "rR" else "---" for letter in self.letters]
        lines = [self.columns, rule, *filter(None, self.rows)]
        return "\n".join(f"| {' | '.join(map(written, line))} |" for line in lines)

    def html(self) -> str:
        """Return title, header and rows for a notebook."""
        lines = [
            "".join(f"<{kind}>{escape(written(cell))}</{kind}>" for cell in line)
            for kind, part in (("th", [self.columns]), ("td", filter(None, self.rows)))
            for line in part
        ]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><caption>{escape(self.title)}</caption>{body}</table>"

    def csv(self) -> str:
        """Return header and rows for a spreadsheet."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *filter(None, self.rows)])
        return text.getvalue()


def written(cell: object) -> str:
    """Return a cell as text."""
    return "" if cell is None else str(cell)


def of_records(records: Sequence[Mapping[str, object]]) -> Table:
    """Return a table with a column for each name that a record has, empty where one lacks it."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return Table(columns, [[record.get(name) for name in columns] for record in records])


def measures(title: str, rows: Sequence[Sequence[object]], *values: str) -> Table:
    """Return a table of measures by name; `values` name the columns beside them."""
    return Table(["measure", *values], rows, title, "lr", min_width=44)


class Verdict(Enum):
    """`fail` stops the run or makes its result wrong; `note` informs; `ok` needs nothing."""

    ok = "ok"
    note = "note"
    fail = "fail"


STYLES = {Verdict.ok: "green", Verdict.note: "yellow", Verdict.fail: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        subject: what was checked.
        verdict: how bad it is.
        found: what there is, in a sentence or less.
        remedy: the command or words that correct it; empty if nothing is wrong.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def refused(subject: str, error: GoftError) -> Finding:
    """Return the finding of a refusal; one without a remedy says what to do in the problem."""
    return Finding(subject, Verdict.fail, error.problem, error.remedy or error.problem)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether no check failed."""
    return all(finding.verdict is not Verdict.fail for finding in findings)


def table_of(
    title: str, findings: Sequence[Finding], words: Mapping[Verdict, str] | None = None
) -> Table:
    """Return a row per finding; `words` say what a verdict is called, where not by its name."""
    names = {verdict: verdict.value for verdict in Verdict} | dict(words or {})
    rows = [
        (*styled(STYLES[one.verdict], names[one.verdict]), one.subject, one.found)
        for one in findings
    ]
    return Table(["", "check", "found"], rows, title, "f", centred=False)


def show_remedies(findings: Sequence[Finding], screen: Console) -> None:
    """Print the remedies."""
    for finding in findings:
        if finding.remedy:
            screen.print(f"{finding.subject}: {finding.remedy}", soft_wrap=True, markup=False)

"""Tables of plain cells, for the screen, Markdown, HTML and CSV."""

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
"""Layout of a column by letter: left; right; left, and wide words are folded, not cut; left without
wrapping; right without wrapping."""


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
        columns: names of the columns.
        rows: cells of text or numbers, None for an empty cell; an empty row is a rule.
        title: text above the table on the screen, centred if `centred`.
        layout: a letter of `LAYOUTS` per column; the last one is used for all further columns.
        caption: text below the table on the screen.
        framed: whether the screen has lines between the columns.
        min_width: width on the screen, in characters.
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
        """Return rich's table; brackets in cells are text, not markup."""
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


def spaced(name: str) -> str:
    """Write the name of a score with spaces."""
    return name.replace(".", " ").replace("_", " ")


def of_records(records: Sequence[Mapping[str, object]]) -> Table:
    """Return a table with a column for each key of any record; missing values are empty cells."""
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
    """The result of one check.

    Attributes:
        subject: what was checked.
        verdict: `ok`, `note` or `fail`.
        found: the result, in at most a sentence.
        remedy: the command or overrides that correct it; empty if nothing is wrong.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def refused(subject: str, error: GoftError) -> Finding:
    """Return a failed finding for an error; without a remedy, the problem says what to do."""
    return Finding(subject, Verdict.fail, error.problem, error.remedy or error.problem)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether no check failed."""
    return all(finding.verdict is not Verdict.fail for finding in findings)


def table_of(
    title: str, findings: Sequence[Finding], words: Mapping[Verdict, str] | None = None
) -> Table:
    """Return a table with a row per finding; `words` replace the names of verdicts."""
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

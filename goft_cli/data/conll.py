"""Reader of CoNLL files: words and tags."""

from __future__ import annotations

from pathlib import Path

from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError


def parse_words(text: str, path: Path) -> Table:
    """Read CoNLL's format: one word per line, its tag in the last column, blank lines between rows.

    A file with one column has words without tags. Lines with -DOCSTART- separate documents.
    """
    columns: dict[str, list[list[str]]] = {"tokens": [], "tags": []}
    starts: list[int] = []
    width, open_ = 0, False
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            open_ = False
            continue
        width = width or len(fields)
        if len(fields) != width:
            raise GoftError(
                f"{path}, line {number}: found {len(fields)} columns, expected {width}, as in the "
                "lines before",
                "correct the line",
            )
        if not open_:
            starts.append(number)
            for rows in columns.values():
                rows.append([])
            open_ = True
        for rows, field_ in zip(columns.values(), (fields[0], fields[-1]), strict=True):
            rows[-1].append(field_)
    if not starts:
        raise GoftError(f"{path} is empty", "expected at least one row of data")
    kept = columns if width > 1 else {"tokens": columns["tokens"]}
    return Table(str(path), kept, starts)

"""Files of JSON lines that survive an interruption: answers and judgments, one a line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout, parse
from goft_cli.data.table import Table, require_columns
from goft_cli.system.errors import GoftError

Row = dict[str, Any]


class Records:
    """A file that only grows, by whole lines; several threads may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def read(self) -> list[Row]:
        """Return the rows so far; a last line that was not written whole is cut off the file."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        return rows_of(parse(whole, self.path, Layout())) if whole.strip() else []

    def append(self, row: Row) -> None:
        """Write one row."""
        line = json.dumps(row, ensure_ascii=False) + "\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)


def read_rows(path: str, *, wanted: Sequence[str]) -> list[Row]:
    """Read a file of JSON lines that the user names."""
    table = read_file(Path(path).expanduser(), Layout())
    require_columns(table, wanted, "pass a file in FastChat's format")
    return rows_of(table)


def read_answers(path: str) -> dict[int, str]:
    """Read a file of FastChat's answer format: the first choice's first turn by question number.

    Of several rows of one question the last counts.
    """
    rows = read_rows(path, wanted=("question_id", "choices"))
    try:
        return {row["question_id"]: answer_text(row) for row in rows}
    except (LookupError, TypeError):
        raise GoftError(
            f"{path}: a row is not of FastChat's answer format",
            'expected {"question_id": 1, "choices": [{"index": 0, "turns": ["..."]}]}',
        ) from None


def answer_text(row: Row) -> str:
    """Return the answer of a row of FastChat's format.

    Raises:
        LookupError, TypeError: the row is of another format.
    """
    text = row["choices"][0]["turns"][0]
    if not isinstance(text, str):
        raise TypeError(f"found {text!r}, expected an answer")
    return text


def rows_of(table: Table) -> list[Row]:
    """Turn columns into rows."""
    names = list(table.columns)
    columns = table.columns.values()
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

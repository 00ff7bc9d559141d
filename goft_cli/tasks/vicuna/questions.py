"""Files in FastChat's format: questions, answers, and files to which rows are appended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from datasets import Dataset

from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout, parse
from goft_cli.data.table import Table, require_columns, require_distinct
from goft_cli.system.errors import GoftError

COLUMNS = ("question_id", "category", "turns")
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One question of one turn."""

    question_id: int
    category: str
    text: str


def checked_questions(table: Table) -> list[Question]:
    """Check unchecked rows and return them as questions."""
    require_columns(table, COLUMNS, "pass FastChat's question.jsonl")
    columns = (table.columns[name] for name in COLUMNS)
    questions = [
        _question(values, table.place(index))
        for index, values in enumerate(zip(*columns, strict=True))
    ]
    if not questions:
        raise GoftError(f"{table.origin}: no questions", "expected at least one")
    numbers = [question.question_id for question in questions]
    require_distinct(table, "question_id", numbers, "number each question differently")
    return questions


def as_rows(questions: Sequence[Question]) -> Dataset:
    """Store questions the way FastChat does, with a list of turns."""
    return Dataset.from_list(
        [
            {"question_id": q.question_id, "category": q.category, "turns": [q.text]}
            for q in questions
        ]
    )


def from_rows(rows: Dataset) -> list[Question]:
    """Read back what `as_rows` stored."""
    return [
        Question(row["question_id"], row["category"], row["turns"][0]) for row in rows.to_list()
    ]


def _question(values: tuple[Any, Any, Any], place: str) -> Question:
    number, category, turns = values
    if type(number) is not int or not isinstance(category, str):
        raise GoftError(
            f"{place}: found question_id {number!r} and category {category!r}",
            "expected a whole number and a word",
        )
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise GoftError(f"{place}: turns is {turns!r}", "expected a list of one text")
    if len(turns) != 1 or not turns[0].strip():
        raise GoftError(
            f"{place}: found {len(turns)} turns or an empty one",
            "expected one question: Vicuna-Eval has no second turn",
        )
    return Question(number, category, turns[0])


class Records:
    """A file of JSON lines to which several threads may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def read(self) -> list[Row]:
        """Return the rows so far; an incomplete last line is removed from the file."""
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

    If a question has several rows, the last one is used.
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
    columns = zip(*table.columns.values(), strict=True)
    return [dict(zip(table.columns, values, strict=True)) for values in columns]


def json_digest(content: list[Any]) -> str:
    """Return the SHA-256 of a list as JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()

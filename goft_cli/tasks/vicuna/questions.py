"""Questions in FastChat's format: a number, a category, and what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from goft_cli.data.table import Table, require_columns, require_distinct
from goft_cli.system.errors import GoftError

COLUMNS = ("question_id", "category", "turns")


@dataclass(frozen=True)
class Question:
    """One question of one turn."""

    question_id: int
    category: str
    text: str


def checked_questions(table: Table) -> list[Question]:
    """Turn rows as they were read into questions."""
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

"""Question answering in files: SQuAD's JSON, and the columns of users' tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from goft_cli.data.cells import read_literal, rows_of
from goft_cli.data.columns import aliases_of, is_gap
from goft_cli.data.table import Table, require_columns
from goft_cli.system.errors import GoftError

COLUMNS = ("id", "title", "context", "question", "answers")
CELLS = ("context", "question", "answers")
"""The columns of a user's table in which an empty cell leaves out its row."""
ALIASES = {
    "context": ("context", "passage", "paragraph", "document", "text"),
    "question": ("question", "query"),
    "answers": ("answers", "answer", "answer_text", "gold_answer"),
    "answer_start": ("answer_start", "start"),
    "id": ("id", "qid", "question_id"),
}
"""Names of the columns in users' files, the most specific first."""


def read_document(document: object, origin: str) -> Table:
    """Flatten a parsed JSON file into the columns, unchecked, that the hub's copy of SQuAD has.

    An object without `data` is read as a single row, and a list as rows.
    """
    if isinstance(document, list) and all(isinstance(row, dict) for row in document):
        names = dict.fromkeys(name for row in document for name in row)
        return Table(origin, {name: [row.get(name) for row in document] for name in names})
    if isinstance(document, dict) and "data" not in document:
        return read_document(rows_of(document) or [document], origin)
    found = list(_questions(document, origin))
    columns = {name: [row.get(name) for _, row in found] for name in COLUMNS}
    return Table(origin, columns, names=[place for place, _ in found])


def _questions(document: object, origin: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, article in _items(document, "data", origin):
        name = f"article {at}"
        for number, paragraph in _items(article, "paragraphs", f"{origin}, {name}"):
            place = f"{name}, paragraph {number}"
            for last, question in _items(paragraph, "qas", f"{origin}, {place}"):
                answers = _columns(question.get("answers"))
                row = {**question, "answers": answers, "context": paragraph.get("context")}
                yield f"{place}, question {last}", {"title": article.get("title"), **row}


def _items(parent: object, key: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a list, numbered from 1."""
    found = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise GoftError(
            f"{place}: no list of objects called {key!r} there",
            "expected SQuAD's format, in which the file has data, its articles paragraphs, and "
            "those a context and qas",
        )
    yield from enumerate(found, start=1)


def _columns(answers: object) -> object:
    """Turn a list of answers into the hub's lists; the checks refuse anything else."""
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        return answers
    return {key: [answer.get(key) for answer in answers] for key in ("text", "answer_start")}


def with_ids(table: Table) -> Table:
    """Return a user's table with SQuAD's columns, and an id for each row: by default its number.

    The answers of a question without one are None.
    """
    table = with_names(table)
    require_columns(table, CELLS, "rename the columns")
    known = table.columns.get("id", range(1, len(table) + 1))
    ids = [str(name) for name in known]
    answers = [None if is_unanswered(one) else one for one in table.columns["answers"]]
    return replace(table, columns={**table.columns, "id": ids, "answers": answers})


def is_unanswered(answer: object) -> bool:
    """Tell whether a cell says that a question has no answer, as in SQuAD v2."""
    answer = decoded(answer)
    return (answer.get("text", answer) if isinstance(answer, dict) else answer) in ([], {})


def decoded(answer: object) -> object:
    """Return the list or the object that a text spells; other values unchanged."""
    if isinstance(answer, str) and answer.lstrip().startswith(("[", "{")):
        with suppress(ValueError):  # a text that begins with a bracket
            return read_literal(answer)
    return answer


def with_answers(table: Table) -> Table:
    """Return a table of `with_ids` with SQuAD's answers, which have their starts.

    Answers are a text, a list of texts, or SQuAD's own format, in a column or as JSON in a cell. An
    answer without a start gets the first character at which it occurs in the context.
    """
    columns = {name: list(table.columns[name]) for name in ALIASES if name in table.columns}
    starts = columns.pop("answer_start", [None] * len(table))
    each = zip(columns["answers"], starts, columns["context"], strict=True)
    columns["answers"] = [
        placed(answer, start, str(context), table.place(index))
        for index, (answer, start, context) in enumerate(each)
    ]
    return replace(table, columns=columns)


def with_names(table: Table) -> Table:
    """Rename the columns of a user's table to SQuAD's names."""
    return table.renamed(aliases_of(table, ALIASES))


def placed(answer: object, start: object, context: str, place: str) -> dict[str, list[Any]]:
    """Return answers in SQuAD's format, each with the position of its first character."""
    texts, starts = parts_of(answer, place)
    if not starts and start is not None and not is_gap(start):
        starts = start if isinstance(start, list) else [start]
    if len(starts) != len(texts) or {*map(str, starts)} <= {"-1", "-1.0"}:  # not known
        starts = [context.find(text) for text in texts]
    lost = [text for text, where in zip(texts, starts, strict=True) if where == -1]
    if lost:
        raise GoftError(
            f"{place}: the answer {lost[0]!r} is not in the context",
            "expected a literal part of the context; correct the row or remove it",
        )
    return {"text": texts, "answer_start": [number(where, place) for where in starts]}


def number(start: object, place: str) -> int:
    """Return an answer's start, which a table may hold as text."""
    try:
        return int(float(str(start)))
    except ValueError:
        problem = f"{place}: answer_start is {start!r}, expected a number of characters"
        raise GoftError(problem, "correct the row") from None


def parts_of(answer: object, place: str) -> tuple[list[str], list[Any]]:
    """Return the texts of a row's answers, and their starts if they are given."""
    answer = decoded(answer)
    if isinstance(answer, dict):
        texts, starts = answer.get("text", []), answer.get("answer_start", [])
        texts, starts = ([one] if not isinstance(one, list) else one for one in (texts, starts))
    elif isinstance(answer, list) and all(isinstance(one, dict) for one in answer):
        texts = [one.get("text") for one in answer]
        starts = [one["answer_start"] for one in answer if "answer_start" in one]
    else:
        texts, starts = answer if isinstance(answer, list) else [answer], []
    words = [text for text in texts if isinstance(text, str) and not is_gap(text)]
    if not texts or len(words) < len(texts):
        raise GoftError(
            f"{place}: the answer is {answer!r}, expected words of the context",
            "remove questions without an answer",
        )
    return words, starts

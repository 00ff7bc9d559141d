"""SQuAD's own JSON, articles of paragraphs of questions, as a table with a row per question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError

COLUMNS = ("id", "title", "context", "question", "answers")
SHAPE = "data, its articles paragraphs, and those a context and qas"

NamedRow = tuple[str, dict[str, Any]]


def read_document(document: object, origin: str) -> Table:
    """Flatten a document into the columns that the hub's copy of SQuAD has.

    Args:
        document: a parsed JSON file; an object without `data` is taken for a single row.
        origin: name of the file.

    Returns:
        Columns id, title, context, question, answers, unchecked; None where a question lacks one.
    """
    if isinstance(document, dict) and "data" not in document:
        return Table(origin, {name: [value] for name, value in document.items()})
    names, rows = [], []
    for name, row in _questions(document, origin):
        names.append(name)
        rows.append(row)
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    return Table(origin, columns, names=names)


def _questions(document: object, origin: str) -> Iterator[NamedRow]:
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
            f"expected SQuAD's format, in which the file has {SHAPE}",
        )
    yield from enumerate(found, start=1)


def _columns(answers: object) -> object:
    """Turn a list of answers into the hub's lists; what is no such list is left to the checks."""
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        return answers
    return {key: [answer.get(key) for answer in answers] for key in ("text", "answer_start")}

"""Checks rows of question answering."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, Features, List, Value

from goft_cli.data.table import Table, require_columns, require_distinct, texts
from goft_cli.system.errors import GoftError

TEXTS = ("question", "context")
ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int32"))}


def checked_rows(table: Table, *, answered: bool) -> Dataset:
    """Return the checked columns question and context, with `answered` id and answers too.

    Without `answered` a missing text is empty. Answers are `{"text": [...], "answer_start": [...]}`
    with starts in characters from 0.
    """
    wanted = ("id", "answers") if answered else ()
    require_columns(table, (*TEXTS, *wanted), "rename the columns, or pass SQuAD's JSON")
    names = ("id", *TEXTS) if answered else TEXTS
    columns: dict[str, list[Any]] = {
        name: texts(table, name, or_gap=not answered) for name in names
    }
    features = Features({name: Value("string") for name in names})
    if not columns["question"]:
        raise GoftError(f"{table.origin}: no questions", "expected at least one")
    if answered:
        remedy = "predictions are told apart by it, so give each question its own"
        require_distinct(table, "id", columns["id"], remedy)
        columns["answers"] = list(table.columns["answers"])
        features["answers"] = ANSWERS
        for index, answers in enumerate(columns["answers"]):
            place = f"{table.place(index)} (id {columns['id'][index]})"
            _check_answers(answers, columns["context"][index], place)
    return Dataset.from_dict(columns, features=features)


def _check_answers(answers: object, context: str, place: str) -> None:
    found = answers if isinstance(answers, dict) else {}
    answer_texts, starts = found.get("text"), found.get("answer_start")
    if (
        not isinstance(answer_texts, list)
        or not isinstance(starts, list)
        or len(answer_texts) != len(starts)
    ):
        raise GoftError(f"{place}: answers is {answers!r}, expected text and answer_start for each")
    if not answer_texts:
        raise GoftError(
            f"{place}: the question has no answer, as in SQuAD v2",
            "a v1 model always answers, so drop such questions or pass SQuAD v1.1",
        )
    for answer, start in zip(answer_texts, starts, strict=True):
        _check_answer(answer, start, context, place)


def _check_answer(answer: object, start: object, context: str, place: str) -> None:
    if not isinstance(answer, str) or not answer.strip():
        raise GoftError(f"{place}: an answer is {answer!r}, expected text", "correct the answer")
    if type(start) is not int or not 0 <= start < len(context):
        raise GoftError(
            f"{place}: answer_start of {answer!r} is {start!r}, expected a number from 0 to "
            f"{len(context) - 1}, as the context has {len(context)} characters"
        )
    found = context[start : start + len(answer)]
    if found != answer:
        raise GoftError(
            f"{place}: the answer {answer!r} is not at {start} in the context, which reads "
            f"{found!r} there",
            "correct answer_start (a context must keep its leading blanks)",
        )

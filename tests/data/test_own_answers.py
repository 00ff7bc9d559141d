"""The user's own questions are read with other column names and several forms of answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.data.squad import read_document, with_answers
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.question_answering.rows import checked_rows

CONTEXT = "Ada met Bo, and Bo met Cy."


def rows(answer: object, **more: object) -> Table:
    columns = {"passage": [CONTEXT], "query": ["Who?"], "answer": [answer]}
    return Table("qa.jsonl", {**columns, **{name: [value] for name, value in more.items()}}, [1])


@pytest.mark.parametrize(
    ("answer", "more", "expected"),
    [
        ("Bo", {}, {"text": ["Bo"], "answer_start": [8]}),
        ("Bo", {"answer_start": "16"}, {"text": ["Bo"], "answer_start": [16]}),
        ("Bo", {"answer_start": 16.0}, {"text": ["Bo"], "answer_start": [16]}),
        (["Ada", "Cy"], {}, {"text": ["Ada", "Cy"], "answer_start": [0, 23]}),
        ({"text": "Cy", "answer_start": 23}, {}, {"text": ["Cy"], "answer_start": [23]}),
        ({"text": ["Cy"]}, {}, {"text": ["Cy"], "answer_start": [23]}),
        ([{"text": "Bo", "answer_start": 16}], {}, {"text": ["Bo"], "answer_start": [16]}),
        (json.dumps({"text": ["Ada"]}), {}, {"text": ["Ada"], "answer_start": [0]}),
    ],
)
def test_answers_are_found(
    answer: object, more: dict[str, object], expected: dict[str, list[object]]
) -> None:
    found = checked_rows(with_answers(rows(answer, **more)), answered=True)
    assert found["answers"][0] == expected
    assert found["id"][0] == "1"


@given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_any_words_of_a_context_have_their_place(answer: str, before: str, after: str) -> None:
    context = before + answer + after
    table = Table("qa", {"context": [context], "question": ["?"], "answers": [[answer]]})
    (start,) = with_answers(table).columns["answers"][0]["answer_start"]  # pyright: ignore[reportIndexIssue] - a list
    assert context[start : start + len(answer)] == answer
    assert start <= len(before)


@pytest.mark.parametrize("answer", ["Dee", ["Ada", "Dee"], "", None, [], {"text": [None]}])
def test_a_row_without_its_answer_is_named(answer: object) -> None:
    with pytest.raises(GoftError, match=r"qa\.jsonl, line 1: the answer"):
        with_answers(rows(answer))


def test_an_array_of_rows_is_a_table() -> None:
    found = read_document([{"context": "a", "question": "b"}, {"context": "c"}], "x.json")
    assert found.columns == {"context": ["a", "c"], "question": ["b", None]}

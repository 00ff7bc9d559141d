"""The user's own questions are read with other column names and several forms of answers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.compose.recomposition import compose_train
from goft_cli.data.squad import read_document, with_answers, with_ids
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
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
        (str({"text": ["Cy"], "answer_start": [23]}), {}, {"text": ["Cy"], "answer_start": [23]}),
        (str(["Ada", "Cy"]), {}, {"text": ["Ada", "Cy"], "answer_start": [0, 23]}),
    ],
)
def test_answers_are_found(
    answer: object, more: dict[str, object], expected: dict[str, list[object]]
) -> None:
    found = checked_rows(with_answers(with_ids(rows(answer, **more))), answered=True)
    assert found["answers"][0] == expected
    assert found["id"][0] == "1"


@given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_any_words_of_a_context_have_their_place(answer: str, before: str, after: str) -> None:
    context = before + answer + after
    table = Table("qa", {"context": [context], "question": ["?"], "answers": [[answer]]})
    (start,) = with_answers(with_ids(table)).columns["answers"][0]["answer_start"]  # pyright: ignore[reportIndexIssue] - a list
    assert context[start : start + len(answer)] == answer
    assert start <= len(before)


@pytest.mark.parametrize("answer", ["Dee", ["Ada", "Dee"], "", None, [], {"text": [None]}])
def test_a_row_without_its_answer_is_named(answer: object) -> None:
    with pytest.raises(GoftError, match=r"qa\.jsonl, line 1: the answer"):
        with_answers(with_ids(rows(answer)))


def test_an_array_of_rows_is_a_table() -> None:
    found = read_document([{"context": "a", "question": "b"}, {"context": "c"}], "x.json")
    assert found.columns == {"context": ["a", "c"], "question": ["b", None]}


@pytest.mark.parametrize("name", ["qa.csv", "qa.jsonl"])
def test_rows_with_an_empty_cell_are_left_out_and_counted(name: str, tmp_path: Path) -> None:
    kinds = [("a {} b", "?", "b"), ("a {}", "?", ""), ("a {}", " ", "a"), ("", "?", "b")]
    cells = [(where.format(n), *rest) for n in range(20) for where, *rest in kinds]
    frame = pd.DataFrame(cells, columns=["context", "question", "answer"])
    if name.endswith(".csv"):
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_json(tmp_path / name, orient="records", lines=True)
    config = compose_train(["task=own/qa", f"data={tmp_path / name}", "model=tiny-deberta-v3"]).task
    data = build_task(config).load_splits(["train", "validation"])
    ids = [int(one) for split in data.splits.values() for one in split["id"]]
    assert sorted(ids) == [*range(1, 81, 4)]
    assert sum(data.provenance["left_out"].values()) == 60


@pytest.mark.parametrize(
    "none", [[], {"text": [], "answer_start": []}, "[]", "{'text': []}", "", None]
)
def test_a_question_without_an_answer_is_an_empty_cell(none: object) -> None:
    assert with_ids(rows(none)).columns["answers"] == [none if none == "" else None]
    assert with_ids(rows("Bo")).columns["answers"] == ["Bo"]


def test_a_start_of_minus_one_is_not_known() -> None:
    (found,) = with_answers(with_ids(rows("Bo", answer_start=-1))).columns["answers"]
    assert found == {"text": ["Bo"], "answer_start": [8]}

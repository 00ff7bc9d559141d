"""Instructions are read from files; rows are left out, held out for validation or refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.system.errors import GoftError
from goft_cli.tasks.instruction import Instruction
from goft_cli.tasks.instruction.rows import divide

Maker = Callable[..., Instruction]
ADD = {"instruction": "Add.", "input": "2 and 3", "output": "5"}
NAME = {"instruction": "Name a colour.", "input": "", "output": "Red"}


def write(folder: Path, rows: Sequence[Any], name: str = "train.json") -> None:
    lines = name.endswith("jsonl")
    content = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_rows_come_from_an_array_or_from_lines(
    name: str, make_instruction: Maker, tmp_path: Path
) -> None:
    write(tmp_path, [ADD, NAME], name)
    data = make_instruction().load()
    assert data.splits["train"].to_list() == [ADD, NAME]
    assert list(data.provenance["sha256"]) == [name]


@pytest.mark.parametrize("absent", [{}, {"input": None}])
def test_an_absent_input_is_empty(
    absent: dict[str, None], make_instruction: Maker, tmp_path: Path
) -> None:
    write(tmp_path, [{"instruction": "Hi", "output": "Yo", **absent}, ADD])
    assert list(make_instruction().load().splits["train"]["input"]) == ["", "2 and 3"]


def test_no_row_may_have_an_input_at_all(make_instruction: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"instruction": "Hi", "output": "Yo"}])
    assert list(make_instruction().load().splits["train"]["input"]) == [""]


def test_columns_may_have_other_names(make_instruction: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"instruction": "Hi", "context": "now", "response": "Yo", "id": 7}])
    aliases = {"input": "context", "output": "response"}
    rows = make_instruction(column_aliases=aliases).load().splits["train"]
    assert rows.to_list() == [{"instruction": "Hi", "input": "now", "output": "Yo"}]


def test_rows_without_question_or_answer_are_left_out_and_counted(
    make_instruction: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    empty = {"instruction": "", "input": "", "output": "5"}
    unanswered = {**ADD, "output": ""}
    input_alone = {**ADD, "instruction": ""}
    write(tmp_path, [ADD, empty, unanswered, input_alone])
    with caplog.at_level(logging.WARNING):
        rows = make_instruction().load().splits["train"]
    assert rows.to_list() == [ADD, input_alone]
    assert "train.json: 2 of 4 rows have no instruction or no output" in caplog.text


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [{"instruction": "Hi", "answer": "Yo"}],
            r"train.json: column output is missing; found 'instruction', 'answer', wanted "
            r"instruction, output; rename the columns, or name yours: 'task.column_aliases=",
        ),
        ([{"prompt": "Hi"}], r"column instruction, output is missing"),
        ([ADD, {**ADD, "output": 5}], r"train.json, row 2: output is 5, expected text"),
        ([ADD, {**ADD, "input": ["2", "3"]}], r"train.json, row 2: input is \['2', '3'\]"),
        ([ADD, {"input": "", "output": ""}], r"train.json, row 2: instruction is None"),
        ([ADD, "Hi"], r'train.json, row 2: found "Hi"; expected one object per row'),
        ([], r"train.json is empty; expected at least one row"),
        ([{**ADD, "output": ""}], r"train.json: no rows; expected at least one instruction with"),
    ],
)
def test_broken_data_has_its_sentence(
    rows: list[Any], sentence: str, make_instruction: Maker, tmp_path: Path
) -> None:
    write(tmp_path, rows)
    with pytest.raises(GoftError, match=sentence):
        make_instruction().load()


def numbered(count: int) -> Dataset:
    return Dataset.from_dict({"instruction": [str(number) for number in range(count)]})


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.floats(0.001, 0.999))
def test_the_share_kept_back_is_the_same_each_time(count: int, share: float) -> None:
    rest, held = divide(numbered(count), share)
    assert len(rest) >= 1
    assert abs(len(held) - share * count) <= 1
    assert sorted([*rest["instruction"], *held["instruction"]]) == sorted(map(str, range(count)))
    again = divide(numbered(count), share)[1]
    assert list(again["instruction"]) == list(held["instruction"])


def test_one_row_cannot_be_shared() -> None:
    with pytest.raises(GoftError, match=r"task.holdout=0.1.* 1 .* 2"):
        divide(numbered(1), 0.1)


def test_validation_is_kept_back_from_training(make_instruction: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{**ADD, "output": str(number)} for number in range(20)])
    task = make_instruction(holdout=0.25, eval_splits=["validation"])
    splits = task.load().splits
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 15, "validation": 5}
    alone = task.load_splits(["validation"]).splits
    assert alone["validation"].to_list() == splits["validation"].to_list()


def test_without_a_share_validation_is_a_file(make_instruction: Maker, tmp_path: Path) -> None:
    write(tmp_path, [ADD])
    write(tmp_path, [NAME], "dev.jsonl")
    splits = make_instruction(eval_splits=["validation"]).load().splits
    assert splits["validation"].to_list() == [NAME]


def test_a_file_to_answer_needs_no_answers(make_instruction: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"instruction": "Hi"}, {**ADD, "output": 5}, {"instruction": ""}], "new.jsonl")
    rows = make_instruction().read(tmp_path / "new.jsonl")
    assert rows.column_names == ["instruction", "input"]
    assert list(rows["instruction"]) == ["Hi", "Add.", ""]
    assert make_instruction().read_text("Hi").to_list() == [{"instruction": "Hi", "input": ""}]

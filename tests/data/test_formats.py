"""Every file format gives the same rows, and the provenance has the SHA-256 of each file."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout
from goft_cli.data.kinds import fitting_task
from goft_cli.data.table import Table
from goft_cli.data.tagged import refuse_single_words
from goft_cli.system.errors import GoftError
from goft_cli.tasks.classification import TextClassification

TaskMaker = Callable[..., TextClassification]
Rows = list[tuple[str, int]]

# Fields that tab-separated text can hold: no tab, no line break, no lone surrogate. A field wholly
# in quotes, with inner quotes doubled, is left out: it looks like a field that pandas quoted.
FIELDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n\0")).filter(
    lambda text: not re.fullmatch(r'"([^"]|"")*"', text)
)
ROWS = st.lists(st.tuples(FIELDS, st.integers(0, 1)), min_size=1, max_size=6)
SAMPLE: Rows = [("plain", 0), ('"quoted" and, with comma', 1), ("naïve – 漢字", 1)]  # noqa: RUF001


def write_tsv(path: Path, rows: Rows) -> None:
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path.with_suffix(".tsv").write_bytes("\n".join(lines).encode())


def write_raw(path: Path, rows: Rows) -> None:
    lines = [f"src\t{label}\t{'' if label else '*'}\t{text}" for text, label in rows]
    path.with_suffix(".tsv").write_bytes("\n".join(lines).encode())


def write_csv(path: Path, rows: Rows) -> None:
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("label", "sentence"), *((b, a) for a, b in rows)])


def write_jsonl(path: Path, rows: Rows) -> None:
    records = [{"sentence": text, "label": label, "extra": None} for text, label in rows]
    lines = map(json.dumps, records)
    path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_json(path: Path, rows: Rows) -> None:
    records = [{"sentence": text, "label": label} for text, label in rows]
    path.with_suffix(".json").write_text(json.dumps(records, indent=1), encoding="utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    frame = pd.DataFrame(rows, columns=["sentence", "label"])
    frame.to_parquet(path.with_suffix(".parquet"))


def write_saved(path: Path, rows: Rows) -> None:
    frame = pd.DataFrame(rows, columns=["sentence", "label"])
    Dataset.from_pandas(frame).save_to_disk(str(path))


WRITERS = [write_tsv, write_raw, write_csv, write_jsonl, write_json, write_parquet, write_saved]
RAW = ["source", "label", "mark", "sentence"]


def pairs(rows: Dataset) -> Rows:
    return list(zip(rows["sentence"], rows["label"], strict=True))


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("validation", ["validation", "dev", "valid", "val"])
def test_every_format_and_name(
    make_task: TaskMaker, tmp_path: Path, write: Callable[[Path, Rows], None], validation: str
) -> None:
    write(tmp_path / "train", SAMPLE)
    write(tmp_path / validation, SAMPLE[:1])
    splits = make_task(raw_columns=RAW).load().splits
    assert pairs(splits["train"]) == SAMPLE
    assert pairs(splits["validation"]) == SAMPLE[:1]


@pytest.mark.parametrize("write", [write_tsv, write_raw, write_csv, write_jsonl, write_json])
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_any_text_survives(
    make_task: TaskMaker, tmp_path: Path, write: Callable[[Path, Rows], None], rows: Rows
) -> None:
    for name in ("train", "dev"):
        write(tmp_path / name, rows)
    assert pairs(make_task(raw_columns=RAW).load().splits["train"]) == rows


def test_json_lines_may_be_called_json(make_task: TaskMaker, tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write_jsonl(tmp_path / name, SAMPLE)
        (tmp_path / f"{name}.jsonl").rename(tmp_path / f"{name}.json")
    assert pairs(make_task().load().splits["train"]) == SAMPLE


def test_a_quoted_csv_field_may_hold_line_breaks(make_task: TaskMaker, tmp_path: Path) -> None:
    rows = [("two\nlines,\ttabs", 1), ("", 0)]
    for name in ("train", "dev"):
        write_csv(tmp_path / name, rows)
    assert pairs(make_task().load().splits["train"]) == rows


def test_a_byte_order_mark_and_windows_line_ends_are_no_content(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_bytes("\ufeffsentence\tlabel\r\nhi\tgood\r\n\r\n".encode())
    assert pairs(make_task().load().splits["train"]) == [("hi", 1)]


def test_names_of_labels_become_ids(make_task: TaskMaker, tmp_path: Path) -> None:
    frame = pd.DataFrame({"sentence": ["a", "b", "c", "d"], "label": ["good", "bad", "1", "0"]})
    for name in ("train.csv", "dev.csv"):
        frame.to_csv(tmp_path / name, index=False)
    assert list(make_task().load().splits["train"]["label"]) == [1, 0, 1, 0]


def test_ids_numbered_in_another_order_are_renumbered(make_task: TaskMaker, tmp_path: Path) -> None:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["good", "bad"])})
    rows = Dataset.from_dict({"sentence": ["a", "b"], "label": [0, 1]}, features=features)
    DatasetDict({"train": rows, "validation": rows}).save_to_disk(str(tmp_path))
    assert list(make_task().load().splits["train"]["label"]) == [1, 0]


def test_regression_targets_are_read_as_numbers(make_task: TaskMaker, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("score\tsentence\n5.000\ta\n0\tb\n")
    options = {"labels": [], "label_range": [0.0, 5.0], "metrics": ["pearson"]}
    task = make_task(**options, headline="pearson", column_aliases={"label": "score"})
    assert list(task.load().splits["train"]["label"]) == [5.0, 0.0]


def test_shards_of_the_hub_are_one_split(make_task: TaskMaker, tmp_path: Path) -> None:
    for part in range(2):
        write_parquet(tmp_path / f"train-{part:05}-of-00002", SAMPLE[part : part + 1])
    write_parquet(tmp_path / "validation-00000-of-00001", SAMPLE)
    assert pairs(make_task().load().splits["train"]) == SAMPLE[:2]


def test_splits_with_a_tail_are_found(make_task: TaskMaker, tmp_path: Path) -> None:
    for name in ("train", "dev_matched", "validation_mismatched"):
        write_tsv(tmp_path / name, SAMPLE)
    names = ["validation_matched", "validation_mismatched"]
    splits = make_task(eval_splits=names, headline_split=names[1]).load().splits
    assert set(splits) == {"train", *names}


def test_an_edited_file_is_read_anew_and_hashed(make_task: TaskMaker, tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write_csv(tmp_path / name, SAMPLE)
    first = make_task().load()
    write_csv(tmp_path / "train", SAMPLE[:1])
    second = make_task().load()
    assert pairs(second.splits["train"]) == SAMPLE[:1]
    assert second.splits["train"].cache_files == []
    before, after = first.provenance["sha256"], second.provenance["sha256"]
    assert before["dev.csv"] == after["dev.csv"]
    assert before["train.csv"] != after["train.csv"]
    assert after["train.csv"] == hashlib.sha256((tmp_path / "train.csv").read_bytes()).hexdigest()


def test_a_file_to_predict_on_needs_no_labels(make_task: TaskMaker, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,sentence\n7,hello\n")
    rows = make_task().read(path)
    assert rows.column_names == ["sentence"]
    assert list(rows["sentence"]) == ["hello"]


def test_a_file_to_predict_on_may_have_labels_of_any_kind(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    write_tsv(tmp_path / "new", [("hello", 99)])
    assert make_task().read(tmp_path / "new.tsv").column_names == ["sentence"]


def test_json_of_pandas_with_a_short_row_is_not_padded(tmp_path: Path) -> None:
    content = {"columns": ["sentence", "label"], "data": [["a", 0], ["b"]]}
    (tmp_path / "rows.json").write_text(json.dumps(content), encoding="utf-8")
    table = read_file(tmp_path / "rows.json", Layout())
    assert "sentence" not in table.columns  # read as one row, in which the task finds no sentence


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table", "records"])
def test_json_of_pandas_is_read_in_every_orientation(
    tmp_path: Path, orient: Literal["columns", "index", "split", "table", "records"]
) -> None:
    rows = {"text": ["a", "b"], "label": [0, 1]}
    pd.DataFrame(rows).to_json(tmp_path / "rows.json", orient=orient)
    table = read_file(tmp_path / "rows.json", Layout())
    assert {name: list(table.columns[name]) for name in rows} == rows
    assert fitting_task(str(tmp_path / "rows.json")) == "own/classification"


def test_a_row_of_json_lines_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"text": "a", "meta": {"0": "b"}}')
    assert read_file(tmp_path / "rows.json", Layout()).columns["text"] == ["a"]


UNIVERSAL = "\n".join(
    [
        "# sent_id = 1",
        "# newpar",
        "1-2\tDu\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tDe\tde\tADP\tE\t_\t3\tcase\t_\tSpaceAfter=No",
        "2\tle\tle\tDET\tR\t_\t3\tdet\t_\t_",
        "2.1\tx\t_\tX\t_\t_\t_\t_\t_\t_",
    ]
)


@pytest.mark.parametrize(
    ("text", "tokens", "tags"),
    [
        (UNIVERSAL, ["De", "le"], ["ADP", "DET"]),
        ("# id 7\tdomain=en\na _ _ B-X\n# _ _ O\n", ["a", "#"], ["B-X", "O"]),
        ("# id 7\na B-X\n", ["a"], ["B-X"]),
        ("# O\n#b B-X\n", ["#", "#b"], ["O", "B-X"]),
        ("New York\tB-X\nis\tO\n", ["New York", "is"], ["B-X", "O"]),
        ("a\u00a0b B-X\r\nc\u2028d O\r\n", ["a\u00a0b", "c\u2028d"], ["B-X", "O"]),
    ],
)
@pytest.mark.parametrize("name", ["words.conll", "words.conllu"])
def test_words_of_conll_keep_their_blanks_and_comments_are_none(
    tmp_path: Path, name: str, text: str, tokens: list[str], tags: list[str]
) -> None:
    (tmp_path / name).write_bytes(f"{text}\n\n{text}".encode())
    assert read_file(tmp_path / name, Layout()).columns == {
        "tokens": [tokens] * 2,
        "tags": [tags] * 2,
    }


def test_a_word_in_each_row_is_no_sentence() -> None:
    table = Table("words.csv", {"word": ["EU", "is"]})
    with pytest.raises(GoftError, match=r"words\.csv: every row has one word"):
        refuse_single_words([["EU"], ["is"]], table)
    refuse_single_words([["EU", "is"], ["is"]], table)

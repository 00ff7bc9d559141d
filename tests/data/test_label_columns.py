"""Every file format gives the same label ids, however the file spells the labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from pyarrow import parquet

from goft_cli.config import TaskConfig, TextClassificationConfig
from goft_cli.data.kinds import fitting_task
from goft_cli.data.table import Table, checked_rows, from_dataset
from goft_cli.system.errors import GoftError
from goft_cli.tasks.classification import TextClassification

TaskMaker = Callable[..., TextClassification]
Writer = Callable[[Path, Sequence[Any]], object]

# Label names of the GLUE datasets on the hub, in the order of their ids.
ON_THE_HUB = {
    "cola": ["unacceptable", "acceptable"],
    "sst2": ["negative", "positive"],
    "mrpc": ["not_equivalent", "equivalent"],
    "qqp": ["not_duplicate", "duplicate"],
    "mnli": ["entailment", "neutral", "contradiction"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["entailment", "not_entailment"],
}


def records(labels: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"sentence": f"text {index}", "label": value} for index, value in enumerate(labels)]


def write_delimited(path: Path, labels: Sequence[Any], delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [("sentence", "label"), *((r["sentence"], r["label"]) for r in records(labels))]
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write_csv(path: Path, labels: Sequence[Any]) -> None:
    write_delimited(path.with_suffix(".csv"), labels, ",")


def write_tsv(path: Path, labels: Sequence[Any]) -> None:
    write_delimited(path.with_suffix(".tsv"), labels, "\t")


def write_jsonl(path: Path, labels: Sequence[Any]) -> None:
    lines = map(json.dumps, records(labels))
    path.with_suffix(".jsonl").write_text("\n".join(lines), encoding="utf-8")


def write_json(path: Path, labels: Sequence[Any]) -> None:
    path.with_suffix(".json").write_text(json.dumps(records(labels)), encoding="utf-8")


def write_parquet(path: Path, labels: Sequence[Any]) -> None:
    pd.DataFrame(records(labels)).to_parquet(path.with_suffix(".parquet"))


def write_dictionary(path: Path, labels: Sequence[Any]) -> None:
    """Write a Parquet file whose labels are a pandas category, so dictionary-encoded."""
    frame = pd.DataFrame(records(labels)).astype({"label": "category"})
    frame.to_parquet(path.with_suffix(".parquet"))


def write_arrow(path: Path, labels: Sequence[Any]) -> None:
    Dataset.from_list(records(labels)).save_to_disk(str(path))


MIXED: list[Writer] = [write_csv, write_tsv, write_jsonl, write_json]
TYPED: list[Writer] = [*MIXED, write_parquet, write_dictionary, write_arrow]
ONES = ["1.0", "1", 1, 1.0, True, "True", "true", " 1 ", "\u00a01.0"]
COLUMNS = [[0, 1], [0.0, 1.0], [False, True], ["0", "1"], [" 0.0", "1.0 "], ["False", "True"]]
# The task's labels, and the ids that the values 0 and 1 get.
TASKS = [(["bad", "good"], [0, 1]), (["0", "1"], [0, 1]), (["1", "0"], [1, 0])]


def ids(task: TextClassification) -> list[int]:
    return list(task.load_splits(["train"]).splits["train"]["label"])


@pytest.mark.parametrize("write", MIXED)
def test_spellings_within_one_file_are_one_label(
    write: Writer, make_task: TaskMaker, tmp_path: Path
) -> None:
    write(tmp_path / "train", [*ONES, 0, "0.0", False])
    for labels, numbered in TASKS:
        expected = [numbered[1]] * len(ONES) + [numbered[0]] * 3
        assert ids(make_task(labels=labels)) == expected, labels


@pytest.mark.parametrize("write", TYPED)
def test_the_type_of_a_column_changes_no_label(
    write: Writer, make_task: TaskMaker, tmp_path: Path
) -> None:
    for at, column in enumerate(COLUMNS):
        folder = tmp_path / str(at)
        folder.mkdir()
        write(folder / "train", column)
        for labels, numbered in TASKS:
            assert ids(make_task(labels=labels, data_dir=str(folder))) == numbered, (column, labels)


@pytest.mark.parametrize("column", [[5, 1, None], [5.0, 1.0, np.nan]])
def test_stars_that_pandas_wrote_as_floats(
    column: list[Any], make_task: TaskMaker, tmp_path: Path
) -> None:
    task = make_task(labels=list("12345"))
    frame = pd.DataFrame(records(column))
    frame.dropna().to_csv(tmp_path / "train.csv", index=False)
    assert ids(task) == [4, 0]
    frame.to_csv(tmp_path / "train.csv", index=False)
    assert "5.0" in (tmp_path / "train.csv").read_text()
    with pytest.raises(GoftError, match=r"train\.csv, line 4: label is ''"):
        ids(task)


@pytest.mark.parametrize("write", TYPED)
def test_names_are_levelled_in_every_format(
    write: Writer, make_task: TaskMaker, tmp_path: Path
) -> None:
    write(tmp_path / "train", ["Not-Entailment", "ENTAILMENT ", "not entailment"])
    assert ids(make_task(labels=["entailment", "not_entailment"])) == [1, 0, 1]


def named(names: Sequence[str], values: Sequence[int | None], column: str = "label") -> Dataset:
    """Return rows whose labels are ids with names (ClassLabel), as the hub stores them."""
    features = Features({"sentence": Value("string"), column: ClassLabel(names=list(names))})
    rows = {"sentence": ["text"] * len(values), column: list(values)}
    return Dataset.from_dict(rows, features=features)


def as_parquet(rows: Dataset, path: Path) -> None:
    rows.to_parquet(str(path.with_suffix(".parquet")))


def as_arrow(rows: Dataset, path: Path) -> None:
    rows.save_to_disk(str(path))


@pytest.mark.parametrize("save", [as_parquet, as_arrow])
@pytest.mark.parametrize(
    ("own", "labels", "expected"),
    [
        (["Not-Entailment", "Entailment"], ["entailment", "not_entailment"], [1, 0]),
        (["good", "bad"], ["bad", "good"], [1, 0]),
        (["0", "1"], ["1", "0"], [1, 0]),
        (["1.0", "0.0"], ["0", "1"], [1, 0]),
        (["True", "False"], ["false", "true"], [1, 0]),
        (["0", "1"], ["bad", "good"], [0, 1]),  # numbers, not names
    ],
)
def test_the_datas_own_names_rule(
    save: Callable[[Dataset, Path], None],
    own: list[str],
    labels: list[str],
    expected: list[int],
    make_task: TaskMaker,
    tmp_path: Path,
) -> None:
    save(named(own, [0, 1]), tmp_path / "train")
    assert ids(make_task(labels=labels)) == expected
    table = from_dataset(named(own, [0, 1], "gold"), "elsewhere").renamed({"label": "gold"})
    config = make_task(labels=labels).config
    assert list(checked_rows(table, config, labelled=True)["label"]) == expected


@pytest.mark.parametrize(
    "own", [["bad", "good", "neutral"], ["good"], ["bad", "fine"], ["good", "Good"]]
)
def test_other_names_are_refused_with_both_lists(
    own: list[str], make_task: TaskMaker, tmp_path: Path
) -> None:
    named(own, [0]).save_to_disk(str(tmp_path / "train"))
    with pytest.raises(GoftError, match="train") as caught:
        ids(make_task())
    assert ", ".join(own) in str(caught.value)
    assert "bad, good" in str(caught.value)


@pytest.mark.parametrize("hidden", [-1, None])
def test_a_hidden_label_is_none(hidden: int | None, make_task: TaskMaker) -> None:
    table = from_dataset(named(["-1", "0"], [1, hidden]), "test")
    with pytest.raises(GoftError, match=f"test, row 2: label is {hidden}"):
        checked_rows(table, make_task(labels=["-1", "0"]).config, labelled=True)


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_the_hubs_names_of_glue_are_the_tasks(
    name: str, task_config: Callable[[str], TaskConfig]
) -> None:
    config = task_config(f"glue/{name}")
    assert isinstance(config, TextClassificationConfig)
    own = ON_THE_HUB[name]
    columns = {column: ["text"] * len(own) for column in config.text_columns}
    table = Table("hub", columns | {"label": range(len(own))}, label_names={"label": own})
    assert list(checked_rows(table, config, labelled=True)["label"]) == list(range(len(own)))


def test_a_regression_reads_the_names_of_numbers(make_task: TaskMaker) -> None:
    task = make_task(labels=[], metrics=["pearson"], headline="pearson")
    rows = checked_rows(from_dataset(named(["1", "2.5"], [1, 0]), "x"), task.config, labelled=True)
    assert list(rows["label"]) == [2.5, 1.0]


def test_a_regression_reads_decimals(make_task: TaskMaker, tmp_path: Path) -> None:
    values = [Decimal(f"{number}.25") for number in range(40)]
    write_parquet(tmp_path / "train", values)
    task = make_task(labels=[], metrics=["pearson"], headline="pearson")
    assert ids(task) == [float(value) for value in values]
    assert fitting_task(str(tmp_path / "train.parquet")) == "own/regression"


def test_shards_that_number_their_labels_differently_are_refused(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    for part, own in enumerate([["bad", "good"], ["good", "bad"]]):
        as_parquet(named(own, [0]), tmp_path / f"train-{part:05}-of-00002")
    with pytest.raises(GoftError, match="train-00001-of-00002"):
        ids(make_task())


def test_a_dictionary_of_numbers_is_no_list_of_names(make_task: TaskMaker, tmp_path: Path) -> None:
    """Check that a label is the value in the dictionary, not the index into it."""
    codes = pa.array(["1", "0", "1"]).dictionary_encode()
    assert codes.indices.to_pylist() == [0, 1, 0]
    table = pa.table({"sentence": ["a", "b", "c"], "label": codes})
    parquet.write_table(table, tmp_path / "train.parquet")
    assert ids(make_task()) == [1, 0, 1]


def test_a_number_that_two_labels_could_claim_is_refused(
    make_task: TaskMaker, tmp_path: Path
) -> None:
    write_csv(tmp_path / "train", [0, 1])
    with pytest.raises(GoftError, match=r"train\.csv, line 2: label is '0'.*yes, no"):
        ids(make_task(labels=["yes", "no"]))

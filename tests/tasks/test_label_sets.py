"""Multi-label classification reads each spelling of a set of labels, scores it and trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from transformers import PreTrainedTokenizerFast

from goft_cli.compose.recomposition import compose_train
from goft_cli.config.labels import level
from goft_cli.data.table import checked_rows, from_dataset
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.preflight import check_inputs
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Split
from goft_cli.tasks.classification import TextClassification
from tests.support import small_runs

TaskMaker = Callable[..., TextClassification]
SETS: dict[str, Any] = {
    "multi_label": True,
    "labels": ["red", "green", "dark blue"],
    "metrics": ["micro_f1", "exact_match"],
    "headline": "micro_f1",
}
WANTED = [["red", "dark blue"], [], ["green"]]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.csv", 'sentence,label\na,"dark blue;red"\nb,\nc,green\n'),
        ("train.csv", "sentence,label\na,\"['dark blue', 'red']\"\nb,[]\nc,['green']\n"),
        ("train.tsv", "sentence\tlabel\na\tRed; dark-blue ;\nb\t\nc\t1\n"),
        (
            "train.jsonl",
            '{"sentence": "a", "label": ["red", "dark blue", "red"]}\n'
            '{"sentence": "b", "label": []}\n{"sentence": "c", "label": 1}\n',
        ),
    ],
)
def test_each_spelling_of_a_set_is_read(
    make_task: TaskMaker, tmp_path: Path, name: str, text: str
) -> None:
    write(tmp_path, name, text)
    data = make_task(**SETS).load_splits(["train"])
    found = [[level(one) for one in row] for row in data.splits["train"]["label"]]
    assert found == [[level(one) for one in row] for row in WANTED]


def test_numbers_that_the_data_names_are_read(make_task: TaskMaker) -> None:
    names = ClassLabel(names=["green", "dark_blue", "red"])
    features = Features({"sentence": Value("string"), "label": List(names)})
    rows = {"sentence": ["a", "b", "c"], "label": [[1, 2], [], [0]]}
    table = from_dataset(Dataset.from_dict(rows, features=features), "made-up")
    found = checked_rows(table, make_task(**SETS).config, labelled=True)
    assert list(found["label"]) == WANTED


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ('["red", "blu"]', r"train.jsonl, line 2: label has 'blu', expected .*dark blue"),
        ('["red", ["green"]]', r"line 2: label has \['green'\]"),
        ('"red,green"', r"line 2: label has 'red,green'"),
        ("\"['red' 'green']\"", r"line 2: label is .*'red' 'green'.*JSON"),
        ("null", r"line 2: label is None, expected a list of labels.*empty"),
        ("3", "line 2: label has 3"),
    ],
)
def test_a_label_that_is_none_is_named_with_its_row(
    make_task: TaskMaker, tmp_path: Path, label: str, told: str
) -> None:
    first = '{"sentence": "a", "label": ["red"]}\n'
    write(tmp_path, "train.jsonl", f'{first}{{"sentence": "b", "label": {label}}}\n')
    with pytest.raises(GoftError, match=told):
        make_task(**SETS).load_splits(["train"])


def test_rows_of_one_label_each_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, mark in (("comma", ","), ("semicolon", ";")):
        cells = "".join(f'text {row},"a{mark}b"\ntext {row} b,b\n' for row in range(8))
        write(tmp_path, f"{name}.csv", f"text,tags\n{cells}")
        caplog.clear()
        cfg = compose_train(["task=own/multilabel", f"data={tmp_path / name}.csv"])
        TextClassification(cfg.task).load_splits(["train"])  # pyright: ignore[reportArgumentType]
        assert ("no row has two labels" in caplog.text) == (name == "comma")


def test_targets_are_zeros_and_ones(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    task = make_task(**SETS)
    encoded = task.encode(Dataset.from_dict({"sentence": [*"abc"], "label": WANTED}), tokenizer)
    batch = task.collate(tokenizer)([encoded[0], encoded[1]])
    assert batch["labels"].tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch["labels"].dtype is torch.float32
    assert task.model_options()["problem_type"] == "multi_label_classification"


def test_scores_predictions_and_the_constant_answer(make_task: TaskMaker) -> None:
    task, rows = make_task(**SETS), Dataset.from_dict({"label": WANTED})
    split = Split(rows, rows)
    outputs = np.array([[1.0, -1.0, -0.1], [-1.0, -2.0, -3.0], [-1.0, 0.0, -1.0]])
    assert task.score(outputs, split) == pytest.approx({"micro_f1": 0.8, "exact_match": 2 / 3})
    found = task.decode(outputs, split)
    assert [one["labels"] for one in found] == [["red"], [], ["green"]]
    assert found[2]["probabilities"]["green"] == 0.5
    counted = task.by_class(outputs, split)
    assert counted is not None
    assert counted["classes"]["dark blue"]["support"] == 1
    answer, constant = task.constant(Dataset.from_dict({"label": [["red"], ["red"], []]}), split)
    assert answer == "red"
    assert [one["labels"] for one in task.decode(constant, split)] == [["red"]] * 3
    assert task.constant(rows, split)[0] == "no label"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["task.labels=[]", "task.multi_label=true"], r"task\.multi_label=True.*task\.labels"),
        (["task.multi_label=true", "task.class_weights=balanced"], r"class_weights.*set of labels"),
    ],
)
def test_what_does_not_go_with_sets_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(GoftError, match=told):
        small_runs.composed(["task=demo/acceptability", *words])


def test_labels_of_sets_are_not_smoothed(tmp_path: Path) -> None:
    words = ["task=demo/acceptability", "task.multi_label=true", f"output_dir={tmp_path / 'run'}"]
    words += ["task.metrics=[micro_f1]", "task.headline=micro_f1"]
    with pytest.raises(GoftError, match=r"label_smoothing_factor=0\.1.*do not have one class"):
        check_inputs(small_runs.composed([*words, "trainer.label_smoothing_factor=0.1"]))


def test_a_run_with_sets_ends_with_a_line_for_each_label(tmp_path: Path) -> None:
    model, data = small_runs.write_model(tmp_path / "model"), tmp_path / "data"
    data.mkdir()
    lines = ["the dog runs .\tdog", "the cat sleeps .\tcat;sleeps", "the bird sings .\t"]
    for name in ("train", "dev"):
        write(data, f"{name}.tsv", "\n".join(["sentence\tlabel", *lines * 4]) + "\n")
    words = ["task.raw_columns=[]", "task.multi_label=true", "task.labels=[dog,cat,sleeps]"]
    words += ["task.metrics=[micro_f1]", "task.headline=micro_f1", "task.benchmark_sizes={}"]
    base = small_runs.overrides(model, data, tmp_path / "run", "trainer.num_train_epochs=1")
    run = RunFolder(pipeline.run(small_runs.composed([*base, *words])))
    assert [*json.loads(run.classes.read_text())["classes"]] == ["dog", "cat", "sleeps"]
    line = (run.path / "predictions.validation.jsonl").read_text().splitlines()[1]
    assert json.loads(line)["label"] == ["cat", "sleeps"]

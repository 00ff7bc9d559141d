"""Text classification and regression encode, pad, score and decode rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from goft_cli.config import DatasetConfig, TaskConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Split
from goft_cli.tasks.classification import TextClassification, _softmax
from goft_cli.tasks.families import build_task

TaskMaker = Callable[..., TextClassification]

PAIR = {"text_columns": ["question", "answer"]}
REGRESSION = {"labels": [], "label_range": [0.0, 5.0], "metrics": ["pearson"]}
REGRESSION |= {"headline": "pearson"}


def test_a_family_builds_its_class(make_task: TaskMaker) -> None:
    task = make_task()
    assert type(build_task(task.config)) is type(task)


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    config = TaskConfig(name="poetry", family="verse", headline="rhyme")
    with pytest.raises(GoftError, match=r"'verse'.*text_classification"):
        build_task(config)


@pytest.mark.parametrize("columns", [[], ["a", "b", "c"]])
def test_one_or_two_texts(make_task: TaskMaker, columns: list[str]) -> None:
    with pytest.raises(GoftError, match=f"{len(columns)} columns"):
        make_task(text_columns=columns)


def test_the_demo_needs_no_files(make_task: TaskMaker) -> None:
    data = make_task(dataset=DatasetConfig(id="demo:acceptability"), data_dir=None).load()
    assert set(data.splits) == {"train", "validation"}
    assert set(data.splits["train"]["label"]) == {0, 1}
    assert data.provenance["source"] == "demo:acceptability"
    assert set(data.provenance["sha256"]) == set(data.splits)


def test_an_unknown_demo_is_answered(make_task: TaskMaker) -> None:
    task = make_task(dataset=DatasetConfig(id="demo:poetry"), data_dir=None)
    with pytest.raises(GoftError, match=r"demo:poetry.*demo:acceptability"):
        task.load()


def test_rows_are_cut_but_not_padded(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = Dataset.from_dict({"sentence": ["ab", "abcdefghij"], "label": [1, 0]})
    encoded = make_task().encode(rows, tokenizer)
    assert [len(ids) for ids in encoded["input_ids"]] == [4, 8]
    assert list(encoded["labels"]) == [1, 0]
    assert "sentence" not in encoded.column_names


def test_of_a_pair_the_longer_text_is_cut(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = Dataset.from_dict({"question": ["ab"], "answer": ["cdefghij"]})
    ids = make_task(**PAIR).encode(rows, tokenizer)[0]["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", *"ab", "[SEP]", *"cde", "[SEP]"]


def test_rows_without_targets_stay_without(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = Dataset.from_dict({"sentence": ["ab"]})
    task = make_task()
    encoded = task.encode(rows, tokenizer)
    assert "labels" not in encoded.column_names
    assert "labels" not in task.collate(tokenizer)([encoded[0]])


def test_one_text_is_one_row(make_task: TaskMaker) -> None:
    assert make_task().read_text("ab").to_dict() == {"sentence": ["ab"]}


def test_one_text_is_not_a_pair(make_task: TaskMaker) -> None:
    with pytest.raises(GoftError, match=r"question and answer.*input="):
        make_task(**PAIR).read_text("ab")


def test_only_the_named_splits_are_read(make_task: TaskMaker, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nhi\t1\n")
    assert set(make_task().load_splits(["validation"]).splits) == {"validation"}


def test_the_tokenizer_may_set_the_limit(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Dataset.from_dict({"sentence": ["a" * 100]})
    with caplog.at_level(logging.WARNING):
        encoded = make_task(max_length=64).encode(rows, tokenizer)
    assert len(encoded[0]["input_ids"]) == 32
    assert "task.max_length=64, but the tokenizer stops at 32" in caplog.text


def test_a_batch_is_padded_to_its_longest_row(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    task = make_task()
    rows = Dataset.from_dict({"sentence": ["a", "abc", "abcdefghij"], "label": [1, 0, 1]})
    encoded = task.encode(rows, tokenizer)
    batch = task.collate(tokenizer)([encoded[0], encoded[1]])
    assert batch["input_ids"].shape == (2, 5)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].dtype is torch.int64


def test_regression_targets_are_floats(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast
) -> None:
    task = make_task(**REGRESSION)
    encoded = task.encode(Dataset.from_dict({"sentence": ["a"], "label": [2.5]}), tokenizer)
    batch = task.collate(tokenizer)([encoded[0]])
    assert batch["labels"].tolist() == [2.5]
    assert batch["labels"].dtype is torch.float32


EIGHTHS = st.integers(-(2**16), 2**16).map(lambda n: n / 8)


@given(arrays(np.float32, (5, 2), elements=EIGHTHS))
def test_probabilities_are_ordered_as_the_outputs(outputs: np.ndarray) -> None:
    found = _softmax(outputs.astype(np.float64))
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=4 * np.finfo(np.float64).eps)
    difference = outputs[:, 0].astype(np.float64) - outputs[:, 1]
    assert np.all((found[:, 0] >= 0.5) == (difference >= 0))


def labelled(targets: list[Any]) -> Split:
    """Return a split of rows with these targets."""
    rows = Dataset.from_dict({"label": targets})
    return Split(rows, rows)


def test_scores_and_predictions_of_classes(make_task: TaskMaker) -> None:
    task = make_task()
    outputs = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 3.5], [0.0, -1.0]], dtype=np.float32)
    split = labelled([0, 1, 0, 1])
    assert task.score(outputs, split) == {"accuracy": 0.5}
    first = task.decode(outputs, split)[0]
    assert first["label"] == "bad"
    assert first["score"] == first["probabilities"]["bad"] == pytest.approx(1 / (1 + np.exp(-2)))


def test_scores_and_predictions_of_a_regression(make_task: TaskMaker) -> None:
    task = make_task(**REGRESSION)
    outputs = np.array([[1.0], [2.0], [4.0]], dtype=np.float32)
    split = labelled([0.5, 1.0, 2.0])
    assert task.score(outputs, split) == {"pearson": pytest.approx(1.0)}
    assert task.decode(outputs, split) == [{"value": 1.0}, {"value": 2.0}, {"value": 4.0}]


@pytest.mark.parametrize("kind", [DebertaV2Config, BertConfig])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_options_make_the_head(
    make_task: TaskMaker, kind: Callable[..., PretrainedConfig], dropout: float
) -> None:
    options = make_task(classifier_dropout=dropout, labels=["x", "y", "z"]).model_options()
    size = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = kind(vocab_size=20, intermediate_size=8, **size, **options)
    model = AutoModelForSequenceClassification.from_config(config)
    assert model.dropout.p == dropout
    assert model.classifier.out_features == 3
    assert model.config.label2id == {"x": 0, "y": 1, "z": 2}


def test_without_a_dropout_the_model_keeps_its_own(make_task: TaskMaker) -> None:
    assert make_task(**REGRESSION).model_options() == {
        "num_labels": 1,
        "problem_type": "regression",
    }

"""Check scores and confusion of each class, and the baseline that answers a constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from goft_cli.run.by_class import SHOWN_CLASSES, class_table, describe_baseline
from goft_cli.run.summary import show_classes
from goft_cli.system.palette import look_of
from goft_cli.tasks.base import Split
from goft_cli.tasks.classes import by_class
from goft_cli.tasks.classification import TextClassification
from goft_cli.verbs.report import figures

TaskMaker = Callable[..., TextClassification]
BITS = st.integers(0, 1)
NAMES = ["cat", "dog", "bird", "fish"]


def pairs(rows: int) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    ids = arrays(np.int64, rows, elements=st.integers(0, len(NAMES) - 1))
    return st.tuples(ids, ids)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40).flatmap(pairs))
def test_the_numbers_of_a_class_are_those_of_the_matrix(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    predictions, references = pair
    found = by_class(NAMES, predictions, references)
    assert list(found["classes"]) == NAMES
    for index, name in enumerate(NAMES):
        one, row = found["classes"][name], found["confusion"].get(name, {})
        taken = sum(other.get(name, 0) for other in found["confusion"].values())
        hits = int(np.sum((predictions == index) & (references == index)))
        assert one["support"] == sum(row.values()) == int(np.sum(references == index))
        assert row.get(name, 0) == hits
        assert taken == int(np.sum(predictions == index))
        assert one["precision"] == pytest.approx(hits / taken if taken else 0.0)
        assert one["recall"] == pytest.approx(hits / one["support"] if one["support"] else 0.0)
        assert one["f1"] == pytest.approx(2 * hits / max(taken + one["support"], 1))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 20).flatmap(
        lambda rows: st.tuples(*[arrays(np.int64, (rows, 3), elements=BITS)] * 2)
    )
)
def test_labels_of_sets_are_counted_each_for_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = by_class(NAMES[:3], *pair)
    assert found["confusion"] == {}
    for index, name in enumerate(NAMES[:3]):
        alone = by_class(["no", "yes"], pair[0][:, index], pair[1][:, index])
        assert found["classes"][name] == alone["classes"]["yes"]
    assert len(class_table({"split": "test", **found}).columns) == 5


def labelled(targets: list[Any]) -> Split:
    rows = Dataset.from_dict({"label": targets})
    return Split(rows, rows)


def test_the_constant_answer_is_the_most_frequent_of_the_training_rows(
    make_task: TaskMaker,
) -> None:
    task, split = make_task(), labelled([0, 0, 0, 1])
    answer, outputs = task.constant(labelled([1, 1, 0]).rows, split)
    assert answer == "good"
    assert task.score(outputs, split) == {"accuracy": 0.25}


def test_the_constant_number_is_the_mean_of_the_training_rows(make_task: TaskMaker) -> None:
    regression = {"labels": [], "metrics": ["r2", "mse"], "headline": "r2"}
    task, split = make_task(**regression), labelled([1.0, 2.0, 6.0])
    answer, outputs = task.constant(split.rows, split)
    assert answer == "the mean 3"
    assert task.score(outputs, split) == pytest.approx({"r2": 0.0, "mse": 14 / 3})


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        ({"answer": "good", "value": 0.75, "beaten": False}, "always answering good gives 0.7500"),
        ({"answer": "good", "value": 0.75, "beaten": True}, ""),
        (None, ""),
    ],
)
def test_a_result_that_takes_no_model_is_told(
    baseline: Mapping[str, Any] | None, told: str
) -> None:
    metrics = {"headline": {"name": "accuracy", "value": 0.7}, "baseline": baseline}
    sentences = describe_baseline(metrics)
    assert len(sentences) == bool(told)
    assert all(told in one and "accuracy is 0.7000" in one for one in sentences)
    del metrics["baseline"]  # as in runs of earlier versions
    assert describe_baseline(metrics) == []


def some(classes: int) -> dict[str, Any]:
    ids = np.arange(3 * classes)
    names = [f"class-{index}" for index in range(classes)]
    found = by_class(names, (ids + ids % 3 // 2) % classes, ids % classes)
    return {"split": "test", **found}


@pytest.mark.parametrize(("classes", "last"), [(2, "as 2"), (5, "as 5"), (6, "mostly taken for")])
def test_few_classes_are_shown_with_their_matrix(classes: int, last: str) -> None:
    table = class_table(some(classes))
    assert table.columns[-1] == last
    assert len(table.rows) == classes
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_screen_shows_some_tens_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for classes in (SHOWN_CLASSES, SHOWN_CLASSES + 1):
        screen = Console(file=StringIO(), width=100)
        monkeypatch.setattr("goft_cli.run.summary.screen", screen)
        show_classes(some(classes))
        assert isinstance(screen.file, StringIO)
        assert screen.file.getvalue().count("class-") >= classes * (classes <= SHOWN_CLASSES)
        assert bool(screen.file.getvalue()) == (classes <= SHOWN_CLASSES)


def test_the_picture_has_every_count_or_the_worst_pairs() -> None:
    few = some(figures.CELLS)
    figure = figures.confusion(few, look_of("goft"))
    assert figure is not None
    counts = [count for row in few["confusion"].values() for count in row.values()]
    assert sorted(int(text.get_text()) for text in figure.axes[0].texts) == sorted(counts)
    many = some(figures.CELLS + 1)
    many["confusion"]["class-3"]["class-9"] = 100
    figure = figures.confusion(many, look_of("goft"))
    assert figure is not None
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[-1] == "class-3 taken for class-9"
    assert len(labels) <= figures.CELLS
    right = {"classes": many["classes"], "confusion": {"class-1": {"class-1": 4}}}
    assert figures.confusion(right, look_of("goft")) is None

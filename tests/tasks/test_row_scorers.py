"""A row scorer gives, for chosen rows, the headline that `score` gives for a split of them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from goft_cli.config import (
    ImageClassificationConfig,
    InstructionConfig,
    QuestionAnsweringConfig,
    TokenClassificationConfig,
)
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.base import Arrays, Split, Task
from goft_cli.tasks.image_classification import ImageClassification
from goft_cli.tasks.instruction import Instruction
from goft_cli.tasks.question_answering import QuestionAnswering
from goft_cli.tasks.token_classification import TokenClassification
from tests.support.made_up_tasks import TaskMaker

GENERATOR = np.random.default_rng(0)
ROWS = 12
CHOICES = [np.arange(ROWS), GENERATOR.integers(ROWS, size=ROWS), np.array([3, 3, 7])]
COMMON: dict[str, Any] = {"name": "made-up", "headline_split": "validation"}


def agrees(task: Task[Any, Any], outputs: Arrays, split: Split) -> None:
    """Check the row scorer of a family with one input per row against `score`."""
    scorer, inputs = task.row_scorer(outputs, split), cast("Dataset", split.inputs)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    for places in CHOICES:
        chosen = Split(split.rows.select(places), inputs.select(places))
        taken = tuple(part[places] for part in parts)
        expected = task.score(taken if isinstance(outputs, tuple) else taken[0], chosen)
        assert scorer(places) == pytest.approx(expected[task.config.headline], abs=1e-12)


def labelled(name: str, targets: list[Any]) -> Split:
    rows = Dataset.from_dict({name: targets})
    return Split(rows, rows)


@pytest.mark.parametrize("metric", ["matthews_correlation"])
def test_classes(metric: str, make_task: TaskMaker) -> None:
    task = make_task(metrics=["accuracy", metric], headline=metric)
    split = labelled("label", GENERATOR.integers(2, size=ROWS).tolist())
    agrees(task, GENERATOR.normal(size=(ROWS, 2)), split)


def test_sets_of_labels(make_task: TaskMaker) -> None:
    many = {"multi_label": True, "labels": ["a", "b", "c"], "metrics": ["micro_f1"]}
    task = make_task(**many, headline="micro_f1")
    found = GENERATOR.integers(2, size=(ROWS, 3))
    sets = [[name for name, there in zip("abc", row, strict=True) if there] for row in found]
    agrees(task, GENERATOR.normal(size=(ROWS, 3)), labelled("label", sets))


def test_numbers(make_task: TaskMaker) -> None:
    numbers = {"labels": [], "metrics": ["combined_score"], "headline": "combined_score"}
    split = labelled("label", GENERATOR.normal(size=ROWS).tolist())
    agrees(make_task(**numbers), GENERATOR.normal(size=(ROWS, 1)), split)


def test_images() -> None:
    task = ImageClassification(ImageClassificationConfig(**COMMON, classes=3))
    split = labelled("label", GENERATOR.integers(3, size=ROWS).tolist())
    agrees(task, GENERATOR.normal(size=(ROWS, 3)), split)


@pytest.mark.parametrize("metric", ["f1", "macro_f1"])
def test_tags(metric: str, tokenizer: PreTrainedTokenizerFast) -> None:
    labels, metrics = ["O", "B-A", "I-A"], ["f1", "macro_f1"]
    task = TokenClassification(
        TokenClassificationConfig(**COMMON, labels=labels, metrics=metrics, headline=metric)
    )
    lengths = GENERATOR.integers(1, 6, size=ROWS)
    words = [[*"abcde"[:length]] for length in lengths]
    tags = [GENERATOR.choice(labels, size=length).tolist() for length in lengths]
    rows = Dataset.from_dict({"tokens": words, "tags": tags})
    split = Split(rows, task.encode(rows, tokenizer))
    logits = torch.from_numpy(GENERATOR.normal(size=(ROWS, 12, 3)))
    kept: Any = task.reduce(logits, {"attention_mask": torch.ones(ROWS, 12)})
    agrees(task, tuple(part.numpy() for part in kept), split)


@pytest.mark.parametrize("headline", ["loss", "perplexity"])
def test_answers(headline: str) -> None:
    task = Instruction(
        InstructionConfig(**COMMON, headline=headline, eval_splits=[], greater_is_better=False)
    )
    tokens = GENERATOR.integers(1, 20, size=ROWS)
    outputs = np.stack([GENERATOR.random(ROWS) * tokens, tokens], axis=1)
    agrees(task, outputs, labelled("output", [""] * ROWS))


def test_spans_of_windows() -> None:
    """A row has as many windows as its context needs, so a choice of rows chooses windows."""
    task = QuestionAnswering(QuestionAnsweringConfig(**COMMON, max_length=24, doc_stride=4))
    contexts = ["the dog runs and the cat sleeps " * (1 + row % 4) for row in range(ROWS)]
    answers = [{"text": [text[4:7]], "answer_start": [4]} for text in contexts]
    rows = Dataset.from_dict(
        {
            "id": [str(row) for row in range(ROWS)],
            "question": ["who runs"] * ROWS,
            "context": contexts,
            "answers": answers,
        }
    )
    tokenizer = AutoTokenizer.from_pretrained(asset_dir("tiny-deberta-v3"))
    inputs = task.encode(rows, tokenizer)
    logits = torch.from_numpy(GENERATOR.normal(size=(2, len(inputs), 24)))
    kept = task.reduce(tuple(logits), {"attention_mask": torch.ones(len(inputs), 24)})
    outputs = tuple(part.numpy() for part in kept)
    scorer, sources = task.row_scorer(outputs, Split(rows, inputs)), np.array(inputs["row"])
    assert len(inputs) > ROWS
    assert scorer(CHOICES[0]) > 0
    for places in CHOICES:
        chosen = rows.select(places)
        windows = np.concatenate([np.flatnonzero(sources == place) for place in places])
        split = Split(chosen, task.encode(chosen, tokenizer))
        expected = task.score(tuple(part[windows] for part in outputs), split)["f1"]
        assert scorer(places) == pytest.approx(expected, abs=1e-9)

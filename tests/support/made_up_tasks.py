"""Fixtures: a made-up task, a tokenizer, the reader of a task's YAML, and a stand-in judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from goft_cli.config import DatasetConfig, TaskConfig, TextClassificationConfig
from goft_cli.tasks.classification import TextClassification
from tests.support.judge_server import JudgeServer, running_judge
from tests.support.recipe_cells import alone

TaskMaker = Callable[..., TextClassification]


@pytest.fixture
def task_config() -> Callable[[str], TaskConfig]:
    """Return the function that reads a task's YAML by name."""
    return read_config


def read_config(name: str) -> TaskConfig:
    """Return a task's YAML merged onto its defaults, as Hydra merges them."""
    config = alone(f"task/{name}")
    assert isinstance(config, TaskConfig)
    return config


@pytest.fixture
def make_task(tmp_path: Path) -> TaskMaker:
    """Return a builder of two-class tasks that read `tmp_path`; keywords replace fields."""

    def make(**changes: object) -> TextClassification:
        fields: dict[str, Any] = {
            "name": "made-up",
            "dataset": DatasetConfig(id="nobody/nothing"),
            "data_dir": str(tmp_path),
            "text_columns": ["sentence"],
            "labels": ["bad", "good"],
            "metrics": ["accuracy"],
            "headline": "accuracy",
            "headline_split": "validation",
            "max_length": 8,
        }
        fields.update(changes)
        return TextClassification(TextClassificationConfig(**fields))

    return make


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per letter, between [CLS] and [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *"abcdefghij"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    )


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """Yield a stand-in judge on loopback; no API key is set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with running_judge() as server:
        yield server

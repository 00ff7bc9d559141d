"""A task to read for, a tokenizer to encode with, and files to break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from goft_cli.composition import data_root, register
from goft_cli.config import SCHEMAS, DatasetConfig, TaskConfig, TextClassificationConfig
from goft_cli.tasks.classification import TextClassification

TaskMaker = Callable[..., TextClassification]
TASKS = data_root() / "configs" / "task"


@pytest.fixture
def task_config() -> Callable[[str], TaskConfig]:
    """Read a task's YAML by its name."""
    return read_config


def read_config(name: str) -> TaskConfig:
    """Merge a task's YAML onto the schema its defaults list names, as Hydra would."""
    register()
    stated = OmegaConf.load(TASKS / f"{name}.yaml")
    assert isinstance(stated, DictConfig)
    (default,) = stated.pop("defaults")
    schema = default.removeprefix("/schema/").removesuffix("@_here_")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SCHEMAS[schema]), stated))
    assert isinstance(config, TaskConfig)
    return config


@pytest.fixture
def make_task(tmp_path: Path) -> TaskMaker:
    """Build a two-class task of one text that reads `tmp_path`; keywords replace its fields."""

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
    """One token per letter, between [CLS] and [SEP]."""
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

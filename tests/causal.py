"""A task that trains tiny-llama on sentences in a second, for what needs a trained causal model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import Dataset
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from goft_cli import tasks
from goft_cli.config import SCHEMAS, TaskConfig, TrainConfig
from goft_cli.tasks.base import Arrays, Collator, Split, Task, TaskData, Tensors
from tests.small import composed

FAMILY = "sentences"
ROWS = 12


class Sentences(Task[TaskConfig, PreTrainedTokenizerBase]):
    """The next token of a few sentences."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"

    def load_splits(self, names: Sequence[str]) -> TaskData:
        rows = Dataset.from_dict({"text": [f"{index} plus one is what?" for index in range(ROWS)]})
        return TaskData(dict.fromkeys(names, rows), {"source": "here"})

    def read(self, path: Path) -> Dataset:
        return Dataset.from_dict({"text": path.read_text(encoding="utf-8").splitlines()})

    def read_text(self, text: str) -> Dataset:
        return Dataset.from_dict({"text": [text]})

    def encode(self, rows: Dataset, processor: PreTrainedTokenizerBase) -> Dataset:
        ids = processor(list(rows["text"]))["input_ids"]
        return Dataset.from_dict({"input_ids": ids, "labels": ids})

    def collate(self, processor: PreTrainedTokenizerBase) -> Collator:
        return DataCollatorForTokenClassification(processor)

    def reduce(self, outputs: Tensors, targets: Tensors) -> Tensors:
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        assert isinstance(logits, Tensor)
        return logits[:, -1]

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        return {"spread": float(np.std(np.asarray(outputs)))}

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        return [{"token": int(row.argmax())} for row in np.asarray(outputs)]

    def model_options(self) -> dict[str, Any]:
        return {}


def sentences_run(monkeypatch: pytest.MonkeyPatch, output: Path, *words: str) -> TrainConfig:
    """Compose a short run of tiny-llama, and make its task known for the length of a test."""
    monkeypatch.setitem(tasks.FAMILIES, FAMILY, Sentences)
    monkeypatch.setitem(SCHEMAS, "task/sentences", TaskConfig)
    cfg = composed(
        [
            "model=tiny-llama",
            "model.head_modules=[]",
            "trainer.max_steps=2",
            "trainer.per_device_train_batch_size=6",
            "trainer.use_cpu=true",
            f"output_dir={output}",
            *words,
        ]
    )
    cfg.task = TaskConfig(
        name="sentences",
        family=FAMILY,
        headline="spread",
        headline_split="validation",
        recipe=cfg.task.recipe,
    )
    return cfg

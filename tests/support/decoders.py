"""Causal language models, shipped or with random weights, rows for them, and a small task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from goft_cli.config import SCHEMAS, TaskConfig, TrainConfig
from goft_cli.data.table import Table
from goft_cli.system.locations import asset_dir
from goft_cli.tasks import families
from goft_cli.tasks.base import Arrays, Collator, RowScorer, Split, Task, TaskData, Tensors
from tests.support.small_runs import composed

VOCABULARY = 50
IGNORED = -100
Row = dict[str, Any]


def random_llama(attention: str = "sdpa", *, seed: int = 0) -> LlamaForCausalLM:
    """Return a Llama of two blocks of width 16 with random weights and no padding token."""
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,  # large, so that attention changes the logits
    )
    config._attn_implementation = attention
    return LlamaForCausalLM(config).eval()


def shipped_llama() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tiny-llama and its tokenizer."""
    folder = asset_dir("tiny-llama")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def random_rows(lengths: Sequence[tuple[int, int]], *, seed: int = 1) -> list[Row]:
    """Return rows of random ids; `lengths` has the tokens of each prompt and answer."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for prompt, answer in lengths:
        ids = torch.randint(3, VOCABULARY, (prompt + answer,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    return rows


@torch.no_grad()
def logits_of(model: nn.Module, row: Row) -> Tensor:
    """Return the logits of one row by itself, (length, vocabulary)."""
    return model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0]


FAMILY = "sentences"
ROWS = 12


class Sentences(Task[TaskConfig, PreTrainedTokenizerBase]):
    """A task with a few sentences, for next-token prediction."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"

    def load_splits(self, names: Sequence[str]) -> TaskData:
        rows = Dataset.from_dict({"text": [f"{index} plus one is what?" for index in range(ROWS)]})
        return TaskData(dict.fromkeys(names, rows), {"source": "here"})

    def unlabelled(self, table: Table) -> Dataset:
        return Dataset.from_dict({"text": table.columns["text"]})

    def encode(self, rows: Dataset, processor: PreTrainedTokenizerBase) -> Dataset:
        ids = processor(list(rows["text"]))["input_ids"]
        return Dataset.from_dict({"input_ids": ids, "labels": ids})

    def collate(self, processor: PreTrainedTokenizerBase) -> Collator:
        return DataCollatorForTokenClassification(processor)

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensors:
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        assert isinstance(logits, Tensor)
        return logits[:, -1]

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        return {"spread": float(np.std(np.asarray(outputs)))}

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        return lambda rows: float(np.std(np.asarray(outputs)[rows]))

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        return [{"token": int(row.argmax())} for row in np.asarray(outputs)]

    def model_options(self) -> dict[str, Any]:
        return {}


def sentences_run(monkeypatch: pytest.MonkeyPatch, output: Path, *words: str) -> TrainConfig:
    """Compose a short run of tiny-llama, and register its task until the test ends."""
    monkeypatch.setitem(families.FAMILIES, FAMILY, Sentences)
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

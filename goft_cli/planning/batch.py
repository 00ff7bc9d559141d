"""The largest batch of a run: its longest rows, or what stands in for rows not at hand."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from datasets import Dataset, Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from goft_cli.tasks.base import Collator, Inputs, Task
from goft_cli.tasks.tokens import usable_positions

INPUT = "input_ids"
CANDIDATES = 256
"""Texts to tokenize: the one of most characters need not be the one of most tokens."""


def longest_batch(
    encoded: Inputs, collate: Collator, taken: Collection[str], size: int
) -> dict[str, Tensor]:
    """Collate the longest rows, to which a batch that holds one of them is padded.

    Args:
        encoded: as the task makes them.
        collate: the task's.
        taken: columns that `model_columns` names.
        size: of the batch; there may be fewer rows.
    """
    rows: Any = encoded
    found = [rows[index] for index in range(len(rows))]
    found.sort(key=lambda row: len(row.get(INPUT, ())), reverse=True)
    kept = [{name: row[name] for name in row if name in taken} for row in found[:size]]
    return collate(kept)


def model_columns(model: PreTrainedModel, labels: Collection[str]) -> set[str]:
    """Name the columns that Trainer hands on: what the model takes, and the targets."""
    return {*inspect.signature(model.forward).parameters, "label", *labels}


def most_text(rows: Dataset, count: int) -> Dataset:
    """Return the rows of most characters; of images, which are all brought to one size, the first.

    Args:
        rows: raw ones.
        count: how many, if there are so many.
    """
    count = min(count, len(rows))
    images = [name for name, kind in rows.features.items() if isinstance(kind, Image)]
    if images:
        return rows.select(range(count))
    lengths = torch.tensor([len(str(row)) for row in rows])
    return rows.select(lengths.argsort(descending=True, stable=True)[:count].tolist())


def stand_in_batch(task: Task[Any, Any], model: nn.Module, size: int) -> dict[str, Tensor]:
    """Make a batch of the longest length that the task allows, in place of rows not at hand.

    Args:
        task: whose length it is, and whose labels.
        model: whose positions may be fewer, and whose images have a size.
        size: of the batch.
    """
    config: Any = model.config
    if task.auto_class == "AutoModelForImageClassification":
        side = config.image_size
        pixels = torch.zeros(size, config.num_channels, side, side)
        return {"pixel_values": pixels, "labels": torch.zeros(size, dtype=torch.long)}
    length = longest_text(task, model)
    tokens = torch.zeros(size, length, dtype=torch.long)
    batch = {INPUT: tokens, "attention_mask": torch.ones_like(tokens)}
    per_row = torch.zeros(size, dtype=torch.long)
    if task.auto_class == "AutoModelForCausalLM":
        return batch | {"labels": tokens}
    if task.auto_class == "AutoModelForQuestionAnswering":
        return batch | {"start_positions": per_row, "end_positions": per_row}
    regression = config.problem_type == "regression"
    return batch | {"labels": per_row.float() if regression else per_row}


def longest_text(task: Task[Any, Any], model: nn.Module) -> int:
    """Return the tokens of the longest row."""
    wanted = task.config.max_length
    return min(wanted, usable_positions(model) or wanted)


def shape_of(batch: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of what the model reads: (rows, tokens), or that of images."""
    return tuple(batch[INPUT if INPUT in batch else "pixel_values"].shape)

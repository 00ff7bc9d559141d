"""The largest batch of a run: of its own rows where they are at hand, else of its longest length."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from datasets import Dataset, Image
from torch import Tensor
from transformers import PreTrainedModel

from goft_cli.tasks import Task

INPUT = "input_ids"
SPARE = 64
"""Texts to tokenize at least: the one of most characters need not be the one of most tokens."""


def longest_batch(
    task: Task[Any, Any],
    rows: Dataset,
    processor: Any,
    model: PreTrainedModel,
    size: int,
) -> dict[str, Tensor]:
    """Collate the longest rows, to which a batch that holds one of them is padded.

    Args:
        task: encodes and collates.
        rows: of the training split.
        processor: of the model.
        model: says which columns it takes; Trainer leaves the others out.
        size: of the batch; there may be fewer rows.
    """
    encoded: Any = task.encode(most_text(rows, max(size, SPARE)), processor)
    found = [encoded[index] for index in range(len(encoded))]
    found.sort(key=lambda row: len(row.get(INPUT, ())), reverse=True)
    return collated(task, found[:size], processor, model)


def collated(
    task: Task[Any, Any],
    rows: list[dict[str, Any]],
    processor: Any,
    model: PreTrainedModel,
) -> dict[str, Tensor]:
    """Make one batch of encoded rows, of the columns that the model takes."""
    taken = {*inspect.signature(model.forward).parameters, "label", *task.label_names}
    kept = [{name: value for name, value in row.items() if name in taken} for row in rows]
    return dict(task.collate(processor)(kept))


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


def stand_in_batch(task: Task[Any, Any], model: PreTrainedModel, size: int) -> dict[str, Tensor]:
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


def longest_text(task: Task[Any, Any], model: PreTrainedModel) -> int:
    """Return the tokens of the longest row."""
    config = cast("Any", model.config)
    positions = getattr(config, "max_position_embeddings", None) or task.config.max_length
    return min(task.config.max_length, positions)


def shape_of(batch: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of what the model reads: (rows, tokens), or that of images."""
    return tuple(batch[INPUT if INPUT in batch else "pixel_values"].shape)

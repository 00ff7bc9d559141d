"""What a run trains on, as far as it is here: how many rows, and the largest batch of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from goft_cli.config import ImageClassificationConfig, TrainConfig
from goft_cli.models.backbone import model_folder, reading
from goft_cli.models.processors import fit_together, load_processor
from goft_cli.planning.batch import (
    CANDIDATES,
    longest_batch,
    model_columns,
    most_text,
    stand_in_batch,
)
from goft_cli.run.preflight import check_data_dir
from goft_cli.tasks.base import Task, TaskData


def rows_at_hand(task: Task[Any, Any]) -> TaskData | None:
    """Read the rows that lie in a folder or that this package makes; nothing from the hub."""
    config = task.config
    check_data_dir(config, "task")
    absent = isinstance(config, ImageClassificationConfig) and not (
        config.data_dir or config.generator
    )
    return None if absent or config.remote_dataset else task.load()


def row_count(cfg: TrainConfig, data: TaskData | None, split: str) -> tuple[int | None, str]:
    """Return how many rows a split has, and where that is from."""
    if data is not None:
        return len(data.splits[split]), "counted"
    if split in cfg.task.benchmark_sizes:
        return cfg.task.benchmark_sizes[split], "as published"
    return None, "unknown until the data is here"


def largest_batch(
    cfg: TrainConfig, task: Task[Any, Any], data: TaskData | None, model: PreTrainedModel
) -> tuple[dict[str, Tensor], list[str]]:
    """Make the largest batch, and say so where it is not of the run's own rows."""
    size = cfg.trainer.per_device_train_batch_size
    if data is None:
        note = "rows of the hub are not read: the forecast is for batches of the longest length"
        return stand_in_batch(task, model, size), [note]
    folder = model_folder(cfg.model)
    with reading(cfg.model.path):
        processor = load_processor(folder, cfg.model, task)
    fit_together(processor, model, cfg.model.path)
    rows = most_text(data.splits[cfg.task.train_split], max(size, CANDIDATES))
    taken = model_columns(model, task.label_names)
    encoded = task.encode(rows, processor)
    return longest_batch(encoded, task.collate(processor), taken, size), []

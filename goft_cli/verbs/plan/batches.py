"""The largest batch of a run, and the advice to a run for which it is too large."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, Image
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from goft_cli.config import ImageClassificationConfig, TrainConfig
from goft_cli.config.choices import Sampling
from goft_cli.models.backbone import empty_model, model_folder, reading
from goft_cli.models.processors import fit_together, load_processor
from goft_cli.run.preflight import check_data_dir
from goft_cli.run.summary import megabytes
from goft_cli.run.trained import spread
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Collator, Inputs, Task, TaskData
from goft_cli.tasks.families import build_task
from goft_cli.tasks.tokens import IGNORED, lengths, usable_positions
from goft_cli.training.evaluation import SAMPLE_ROWS
from goft_cli.training.launch_checks import device_of
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import Memory, forecast_memory, total_bytes
from goft_cli.verbs.plan.steps import Batches

INPUT = "input_ids"
SAMPLED = 2000
"""Rows of which the lengths are taken for those of all."""
CANDIDATES = 256
"""Texts to tokenize: the one of most characters need not be the one of most tokens."""
BATCH = "trainer.per_device_train_batch_size"
STEPS = "trainer.gradient_accumulation_steps"
EVALUATED = "trainer.per_device_eval_batch_size"
OF_EXAMPLES = "activations", "fragments", "kept"
"""Parts of the memory that grow with the batch of an update."""
OTHERWISE = "end other programs that hold memory, or choose a smaller model"


def longest_batch(
    encoded: Inputs, collate: Collator, taken: Collection[str], size: int
) -> dict[str, Tensor]:
    """Collate the `size` longest rows, or all if there are fewer; `taken` names the columns."""
    rows: Any = encoded
    found = [rows[index] for index in range(len(rows))]
    found.sort(key=lambda row: len(row.get(INPUT, ())), reverse=True)
    kept = [{name: row[name] for name in row if name in taken} for row in found[:size]]
    return collate(kept)


def most_text(rows: Dataset, count: int) -> Dataset:
    """Return `count` raw rows of most characters; of images, which get one size, the first."""
    count = min(count, len(rows))
    images = [name for name, kind in rows.features.items() if isinstance(kind, Image)]
    if images:
        return rows.select(range(count))
    lengths = torch.tensor([len(str(row)) for row in rows])
    return rows.select(lengths.argsort(descending=True, stable=True)[:count].tolist())


def stand_in_batch(task: Task[Any, Any], model: nn.Module, size: int) -> dict[str, Tensor]:
    """Make a batch of the longest length that task and model allow, for rows not at hand."""
    config: Any = model.config
    if task.auto_class == "AutoModelForImageClassification":
        side = config.image_size
        pixels = torch.zeros(size, config.num_channels, side, side)
        return {"pixel_values": pixels, "labels": torch.zeros(size, dtype=torch.long)}
    wanted = task.config.max_length
    length = min(wanted, usable_positions(model) or wanted)
    tokens = torch.zeros(size, length, dtype=torch.long)
    batch = {INPUT: tokens, "attention_mask": torch.ones_like(tokens)}
    per_row = torch.zeros(size, dtype=torch.long)
    if task.auto_class == "AutoModelForCausalLM":
        answers = tokens.clone()
        answers[:, 0] = IGNORED  # a prompt precedes each answer
        return batch | {"labels": answers}
    if task.auto_class == "AutoModelForQuestionAnswering":
        return batch | {"start_positions": per_row, "end_positions": per_row}
    if task.auto_class == "AutoModelForTokenClassification":
        return batch | {"labels": tokens}
    if config.problem_type == "multi_label_classification":
        return batch | {"labels": torch.zeros(size, config.num_labels)}
    regression = config.problem_type == "regression"
    return batch | {"labels": per_row.float() if regression else per_row}


def shape_of(batch: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of what the model reads: (rows, tokens), or that of images."""
    return tuple(batch[INPUT if INPUT in batch else "pixel_values"].shape)


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
    limit = cfg.task.most_rows(split)
    if split in cfg.task.benchmark_sizes:
        published = cfg.task.benchmark_sizes[split]
        return min(limit or published, published), "as published" if not limit else "at most"
    return limit, "at most" if limit else "unknown until the data is here"


def largest_batches(
    cfg: TrainConfig, task: Task[Any, Any], data: TaskData | None, model: PreTrainedModel
) -> tuple[Batches, list[str]]:
    """Make the largest batches, and say so where they are not of the run's own rows."""
    size, scored = cfg.trainer.per_device_train_batch_size, scored_size(cfg, data)

    def stand_ins(reason: str) -> tuple[Batches, list[str]]:
        pair = [stand_in_batch(task, model, rows) for rows in (size, scored)]
        return Batches(*pair), [f"{reason}: the forecast is for batches of the longest length"]

    if data is None:
        return stand_ins("rows of the hub are not read")
    processor = processor_of(cfg, task, model)
    # what Trainer passes on: the model's parameters, and the targets
    taken = {*inspect.signature(model.forward).parameters, "label", *task.label_names}

    def encoded(split: str, size: int) -> Inputs:
        return task.split(most_text(data.splits[split], max(size, CANDIDATES)), processor).inputs

    def longest(inputs: Inputs, size: int) -> dict[str, Tensor]:
        return longest_batch(inputs, task.collate(processor), taken, size)

    train = cfg.task.train_split
    try:
        trained = longest(task.training_inputs(encoded(train, size)), size)
        each = [longest(encoded(name, scored), scored) for name in cfg.task.eval_splits or [train]]
    except GoftError as error:  # of the rows of most text, all may be left out
        return stand_ins(error.problem)
    return Batches(trained, max(each, key=lambda one: math.prod(shape_of(one)))), order_notes(cfg)


def scored_size(cfg: TrainConfig, data: TaskData | None) -> int:
    """Return the rows of an evaluation's batch, of which there may be fewer than it takes."""
    counts = [row_count(cfg, data, name)[0] for name in cfg.task.eval_splits] or [SAMPLE_ROWS]
    size = cfg.trainer.per_device_eval_batch_size
    return min(size, max(size if count is None else count for count in counts))


def processor_of(cfg: TrainConfig, task: Task[Any, Any], model: PreTrainedModel) -> Any:  # noqa: ANN401 - a tokenizer or an image processor
    """Load what turns rows into the model's inputs."""
    with reading(cfg.model.path):
        processor = load_processor(model_folder(cfg.model), cfg.model, task)
    fit_together(processor, model, cfg.model.path)
    return processor


@dataclass(frozen=True)
class Sample:
    """Rows spread over the training split.

    Attributes:
        lengths: (inputs,) tokens of each model input.
        rows: how many were read.
        packed: inputs that the training makes of them.
    """

    lengths: np.ndarray
    rows: int
    packed: int


def sampled_inputs(cfg: TrainConfig, data: TaskData) -> Sample:
    """Encode up to `SAMPLED` rows of texts as the training does."""
    task = build_task(cfg.task)
    rows = data.splits[cfg.task.train_split]
    places = spread(len(rows), SAMPLED)
    processor = processor_of(cfg, task, empty_model(cfg.model, task))
    inputs = cast("Dataset", task.split(rows.select(places), processor).inputs)
    packed = len(cast("Dataset", task.training_inputs(inputs)))
    return Sample(lengths(inputs), len(places), packed)


def order_notes(cfg: TrainConfig) -> list[str]:
    """Say when the longest batch comes, where the order of the rows is known."""
    if cfg.trainer.train_sampling_strategy is not Sampling.group_by_length:
        return []
    return ["group_by_length: the first update has the longest batch; what fits there fits later"]


def advice(cfg: TrainConfig, *, updating: bool) -> GoftError:
    """Return the refusal of a training, or its evaluation, that ran out of memory."""
    if updating:
        return smaller_update(cfg)
    size = cfg.trainer.per_device_eval_batch_size
    way = f"pass {EVALUATED}={size // 2}" if size > 1 else OTHERWISE
    return GoftError(f"{EVALUATED}={size}: the evaluation ran out of memory", way)


def smaller_update(cfg: TrainConfig) -> GoftError:
    """Return the refusal for an update that does not fit; the advice keeps its examples."""
    size, steps = cfg.trainer.per_device_train_batch_size, cfg.trainer.gradient_accumulation_steps
    memory, room = forecast(cfg), total_bytes(cfg)
    memory = replace(memory, scored=0) if memory else None  # it was not an evaluation
    expected = f" (goft plan: {megabytes(memory.peak)} of {megabytes(room)})" if memory else ""
    begin = f"{BATCH}={size}: the training ran out of memory{expected}"
    if size == 1:
        return GoftError(begin, OTHERWISE)
    lower = fitting_size(size, memory, room)
    return GoftError(
        begin,
        f"pass {BATCH}={lower} {STEPS}={steps * size // lower}, which keeps {steps * size} "
        "examples in an update of each process",
    )


def fitting_size(size: int, memory: Memory | None, room: int) -> int:
    """Return the largest divisor of a batch's size whose forecast is within `room` bytes, or 1.

    `memory` is the forecast for the whole batch; without it the largest divisor counts as fitting.
    """
    parts = [part for part in range(size - 1, 0, -1) if size % part == 0]
    fitting = (
        part for part in parts if memory is None or at_share(memory, part / size).peak <= room
    )
    return next(fitting, 1)


def at_share(memory: Memory, share: float) -> Memory:
    """Return the forecast for a share of the batch: the activations are those of its examples."""
    parts = {name: round(getattr(memory, name) * share) for name in OF_EXAMPLES}
    return replace(memory, **parts)


def forecast(cfg: TrainConfig) -> Memory | None:
    """Forecast the memory as `goft plan` does; None where that is not possible."""
    try:
        return memory_of(cfg, attached(cfg, cfg.adapter), rows_at_hand(build_task(cfg.task)))
    except Exception:  # any line of a model may ask a tensor for its values, or lack memory, too
        return None


def memory_of(cfg: TrainConfig, model: PeftModel, data: TaskData | None) -> Memory:
    """Forecast the memory of a run; the model is on the meta device and is used up.

    Raises:
        Exception: the model asks for a tensor's values, and cannot be traced.
    """
    base = cast("PreTrainedModel", model.get_base_model())
    batches, _ = largest_batches(cfg, build_task(cfg.task), data, base)
    return forecast_memory(model, batches, cfg, device_of(cfg.trainer))

"""Everything that is known of a run before it starts, the paper's result included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import cast

import yaml
from peft import PeftModel
from transformers import PreTrainedModel

from goft_cli.config import EVERY, HEADLINE, PlanConfig, TrainConfig
from goft_cli.config.retain import RetainSpec
from goft_cli.data import dataset_files, model_files
from goft_cli.models.adapters import ParameterCount
from goft_cli.models.heads import head_of
from goft_cli.run.summary import megabytes
from goft_cli.studies.recipes import cells
from goft_cli.system.locations import model_location
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.families import build_task
from goft_cli.training.launch_checks import device_of
from goft_cli.training.trainer import update_count
from goft_cli.verbs.plan.batches import (
    EVALUATED,
    largest_batches,
    row_count,
    rows_at_hand,
    sampled_inputs,
    shape_of,
)
from goft_cli.verbs.plan.calibration import FEW, MORE, Measured, calibrate, depth_of
from goft_cli.verbs.plan.layers import (
    AdaptedLayers,
    adapted_layers,
    attached,
    counted,
    equivalents,
    evaluations,
)
from goft_cli.verbs.plan.memory import Memory, forecast_memory, free_bytes
from goft_cli.verbs.plan.retention import costs
from goft_cli.verbs.plan.scaling import Parts, Way, parts_of_model, ways
from goft_cli.verbs.plan.steps import Batches


@dataclass(frozen=True)
class Published:
    """A cell of the paper.

    Attributes:
        name: what `goft reproduce` calls it.
        source: its place in the paper.
        values: what the paper prints, by measure; None where it draws the result only.
        not_comparable: why the paper's number says nothing about ours; empty if it does.
    """

    name: str
    source: str
    values: Mapping[str, float | None]
    not_comparable: str


def published(cfg: TrainConfig) -> Published | None:
    """Find the cell whose words say what this run does; of several, the one that says most."""
    # without the last word, the seed, which is the reader's choice
    known = cells(cfg.task.name)
    found = [one for one in known if all(holds(word, cfg) for word in one.words(cfg.seed)[:-1])]
    if not found:
        return None
    cell = max(found, key=lambda one: len(one.words(cfg.seed)))
    recipe = cell.recipe
    values = {
        cfg.task.headline if name == HEADLINE else name: measure.paper[cell.method]
        for name, measure in recipe.measures.items()
        if cell.method in measure.paper
    }
    why = recipe.not_comparable.get(cell.method) or recipe.not_comparable.get(EVERY, "")
    return Published(cell.name, recipe.source, values, why)


def holds(word: str, cfg: TrainConfig) -> bool:
    """Tell whether a run was composed with this word, or as if it had been."""
    key, _, value = word.partition("=")
    found: object = cfg
    for step in key.split("."):
        found = getattr(found, step, None)
    if hasattr(found, "name") and not isinstance(found, Enum):
        return getattr(found, "name") == value  # noqa: B009 - a group, of whichever schema
    plain = found.value if isinstance(found, Enum) else found
    return plain == yaml.safe_load(value)


def hub_items(cfg: TrainConfig) -> dict[str, bool]:
    """Tell of the model and the datasets on the hub whether the caches hold all that is read."""
    items = {}
    if isinstance(model_location(cfg.model.path), str):
        items[f"model {cfg.model.path}"] = model_files.is_cached(cfg.model)
    for task in (cfg.task, cfg.benchmark):
        dataset = task.remote_dataset if task else None
        if task and dataset:
            cached = dataset_files.dataset_is_cached(dataset, task.splits)
            items[f"dataset {dataset.id}"] = cached
    return items


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a run before it starts.

    Attributes:
        device: "cpu" or "cuda", where it will train.
        equivalents: words that size another adapter alike, and its parameters, by adapter.
        rows: number of the training split's; None where it is unknown.
        rows_from: where that number is from.
        updates: of the weights; None where it is unknown.
        batch: shape of the largest one.
        memory: in each process; None where the model cannot be traced.
        tensors: bytes of a process's tensors at most, which a GPU would hold; None likewise.
        ways: of sharing the training out among the processes; none for one process.
        timing: of an update and of scoring; None where they were not measured.
        train_seconds: of the whole training; None where its parts are unknown.
        notes: why something is missing, and on what the numbers rest.
        published: the cell of the paper that this run is of.
        downloads: models and datasets of the hub that are not here yet.
        cached: those that are.
    """

    cfg: TrainConfig
    device: str
    layers: Sequence[AdaptedLayers]
    parameters: ParameterCount
    equivalents: Mapping[str, tuple[str, int]]
    rows: int | None
    rows_from: str
    updates: int | None
    batch: tuple[int, ...]
    memory: Memory | None
    tensors: int | None
    ways: Sequence[Way]
    timing: Measured | None
    train_seconds: float | None
    notes: Sequence[str]
    published: Published | None
    downloads: Sequence[str]
    cached: Sequence[str]


def planned_run(planned: PlanConfig) -> TrainConfig:
    """Return the run that a plan is of."""
    return TrainConfig(**{f.name: getattr(planned, f.name) for f in fields(TrainConfig)})


def make_plan(planned: PlanConfig, wanted: RetainSpec | None = None) -> Plan:
    """Plan a run from its model's configuration and rows that are here, without weights.

    `wanted` is what is to be measured of the base model after it.
    """
    cfg = planned_run(planned)
    device, task = device_of(cfg.trainer), build_task(cfg.task)
    data = rows_at_hand(task)
    model = attached(cfg, cfg.adapter)
    layers, counts = adapted_layers(model, head_of(model, cfg.model)), counted(cfg, model)
    rows, rows_from = row_count(cfg, data, cfg.task.train_split)
    inputs, packing = input_count(cfg, data, rows)
    updates = updates_of(cfg, inputs)
    base = cast("PreTrainedModel", model.get_base_model())
    batches, notes = largest_batches(cfg, task, data, base)
    depth = depth_of(base)
    parts = parts_of_model(model)  # before the forecast, which uses the model up
    traced, more = memory_or_reason(model, batches, cfg, device)
    timing, why = calibrated(cfg, batches, traced, depth) if planned.calibrate else (None, [])
    memory = traced
    if memory and device == "cpu":
        if timing:
            memory = memory.corrected(*timing.growth)
        else:
            more.append("memory on a CPU depends on its allocator; calibrate=true measures it")
    if memory and memory.evaluates:
        more.append(f"the peak is in an evaluation; a lower {EVALUATED} reduces it")
    more += costs(cfg, data, wanted) if wanted else []
    items = hub_items(cfg)
    to_score = row_count(cfg, data, cfg.task.eval_splits[0])[0] if cfg.task.eval_splits else 0
    return Plan(
        cfg=cfg,
        device=device,
        layers=layers,
        parameters=counts,
        equivalents=equivalents(layers, counts.adapter),
        rows=rows,
        rows_from=rows_from,
        updates=updates,
        batch=shape_of(batches.trained),
        memory=memory,
        tensors=traced.tensors if traced else None,
        ways=ways_of(cfg, traced, parts),
        timing=timing,
        train_seconds=total_seconds(cfg, timing, updates, inputs, to_score),
        notes=[*packing, *notes, *more, *why],
        published=published(cfg),
        downloads=[item for item, is_here in items.items() if not is_here],
        cached=[item for item, is_here in items.items() if is_here],
    )


def input_count(
    cfg: TrainConfig, data: TaskData | None, rows: int | None
) -> tuple[int | None, list[str]]:
    """Return how many model inputs the training rows make, and say so where it is another number.

    Chats may share an input, and a long context may take several.
    """
    another = getattr(cfg.task, "packing", False) or hasattr(cfg.task, "doc_stride")
    if data is None or not rows or not another:
        return rows, []
    sample = sampled_inputs(cfg, data)
    inputs = math.ceil(sample.packed * rows / sample.rows)
    about = "" if sample.rows == rows else f", counted up from {sample.rows:,} rows"
    return inputs, [f"{rows:,} rows make {inputs:,} model inputs{about}"]


def ways_of(cfg: TrainConfig, memory: Memory | None, parts: Parts) -> list[Way]:
    """Work out the ways of sharing the training out, if there are several processes."""
    devices, steps = cfg.launcher.num_processes, cfg.trainer.gradient_accumulation_steps
    if memory is None or devices == 1:
        return []
    return ways(memory, parts, devices, steps, packed=cfg.model.quantization is not None)


def updates_of(cfg: TrainConfig, inputs: int | None) -> int | None:
    """Return how often the weights are updated; None where that depends on unknown rows."""
    if inputs is None and cfg.trainer.max_steps <= 0:
        return None
    return update_count(inputs or 0, cfg.trainer, cfg.launcher.num_processes)


def total_seconds(
    cfg: TrainConfig,
    timing: Measured | None,
    updates: int | None,
    rows: int | None,
    scored: int | None,
) -> float | None:
    """Add up the updates and the evaluations between them, as the measured time does."""
    if timing is None or updates is None:
        return None
    epoch = replace(cfg.trainer, num_train_epochs=1, max_steps=-1)
    per_epoch = update_count(rows or 1, epoch, cfg.launcher.num_processes)
    evaluated = evaluations(cfg, updates, max(1, per_epoch)) * (scored or 0)
    return updates * timing.update + evaluated * timing.scored_row / cfg.launcher.num_processes


def memory_or_reason(
    model: PeftModel, batches: Batches, cfg: TrainConfig, device: str
) -> tuple[Memory | None, list[str]]:
    """Forecast the memory; the notes say that it is too much, or why there is no forecast."""
    try:
        memory = forecast_memory(model, batches, cfg, device)
    except Exception as error:  # any line of a model may ask a tensor for its values
        reason = (str(error).splitlines() or [""])[0]
        kind = type(model.get_base_model()).__name__
        return None, [f"no forecast of memory: {kind} cannot be run without data ({reason})"]
    free = free_bytes(device)
    if memory.peak > free:
        return memory, [f"too large for here, where {megabytes(free)} are free"]
    return memory, []


def calibrated(
    cfg: TrainConfig, batches: Batches, memory: Memory | None, depth: int | None
) -> tuple[Measured | None, list[str]]:
    """Measure the times if they can be; the note says what they mean or why there are none.

    `depth` is the number of the model's blocks, if it has any.
    """
    device = device_of(cfg.trainer)
    if cfg.model.quantization is not None:
        return None, ["no forecast of time: packed weights cannot be made up"]
    if memory is None or memory.peak > free_bytes(device):
        return None, ["no forecast of time: nothing says that the run fits here"]
    note = "the time is that of updates and evaluations, all at the largest batch, on a model alone"
    if depth is not None and depth > MORE:
        note += f", counted up from {FEW} and {MORE} blocks where its blocks are alike"
    if found := calibrate(cfg, batches, device, depth):
        return found, [note]
    return None, ["no forecast of time: the system ended the process that measured it"]

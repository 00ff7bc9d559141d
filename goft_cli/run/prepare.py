"""One run, ready to train: data, model and adapter loaded and checked against each other."""

from __future__ import annotations

import logging
from collections.abc import Sized
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, cast

import numpy as np
from datasets import Dataset
from peft import PeftModel
from transformers import TrainingArguments, set_seed

from goft_cli.config import TrainConfig
from goft_cli.models.adapter_loading import filled
from goft_cli.models.adapters import ParameterCount, attach_adapter, count_parameters
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.models.heads import head_of
from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import section
from goft_cli.run.record import RunRecord
from goft_cli.run.second_stage import first_stage
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Task, TaskData, chunks
from goft_cli.tasks.benchmark import LoadedBenchmark, load_benchmark, require_kind
from goft_cli.tasks.families import build_benchmark, build_task
from goft_cli.tasks.tokens import lengths
from goft_cli.training import sharding
from goft_cli.training.trainer import EncodedData, training_arguments, update_count

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run with everything loaded."""

    cfg: TrainConfig
    folder: RunFolder
    task: Task[Any, Any]
    data: TaskData
    encoded: EncodedData
    arguments: TrainingArguments
    backbone: Backbone
    model: PeftModel
    counts: ParameterCount
    benchmark: LoadedBenchmark | None
    is_main: bool
    """Whether this process writes and logs for all that share the run."""


def prepare(cfg: TrainConfig, folder: RunFolder, *, is_main: bool) -> Job:
    """Load data and model, and attach the adapter."""
    set_seed(cfg.seed)
    task = build_task(cfg.task)
    arguments = training_arguments(cfg, folder.checkpoints, task)
    sharding.check_deepspeed(cfg, arguments)
    benchmark = prepare_benchmark(cfg, task)
    data = task.load()
    task = task.respelled(data.provenance)
    summary.announce(cfg, task.size_deviations(data), data.sampled)
    backbone = load_backbone(cfg.model, task)
    task.check_model(backbone.model)
    if benchmark:
        benchmark.check_model(backbone.model, backbone.processor)
    encoded = encode(task, data, backbone, arguments)
    # count rows left out or packed, but not the several inputs that a row may have
    rows = min(len(data.splits[cfg.task.train_split]), len(cast("Sized", encoded.train)))
    updates = update_count(rows, cfg.trainer, arguments.world_size)
    head = head_of(backbone.model, cfg.model)
    model = attach_adapter(backbone, cfg.adapter, head, task.auto_class, updates)
    if source := first_stage(cfg):
        copy_first_stage(model, source, task, backbone, head)
    counts = count_parameters(model, head)
    return Job(
        cfg, folder, task, data, encoded, arguments, backbone, model, counts, benchmark, is_main
    )


def copy_first_stage(
    model: PeftModel, source: RunRecord, task: Task[Any, Any], backbone: Backbone, head: list[str]
) -> None:
    """Copy a finished run's adapter weights, and its head's if the labels are equal."""
    recorded, place = section(source.manifest, "model"), source.folder.path
    if recorded.get("fingerprint") != backbone.fingerprint:
        raise GoftError(
            f"init_adapter={place} was trained on the weights of {recorded.get('path')} "
            f"({str(recorded.get('fingerprint'))[:12]}), found those of "
            f"{backbone.model.name_or_path} ({backbone.fingerprint[:12]})",
            "pass the model that it was trained on",
        )
    before = build_task(source.cfg.task).respelled(section(source.manifest, "data"))
    keeps = answers(before) == answers(task)
    filled(model, source.folder.adapter, without=() if keeps else head)
    logger.info("continues from %s, trained on %s", place, before.config.name)
    if not keeps and any(in_modules(name, head) for name, _ in model.named_parameters()):
        logger.info("new head, labels differ: %s there, %s here", *map(labels_of, (before, task)))


def answers(task: Task[Any, Any]) -> dict[str, Any]:
    """Return the settings that a head is built from."""
    options = task.model_options()
    named = {key: options.get(key) for key in ("num_labels", "id2label", "problem_type")}
    return named | {"auto_class": task.auto_class}


def labels_of(task: Task[Any, Any]) -> str:
    """Describe in few words the labels of a task's head."""
    names = [str(name) for name in (task.model_options().get("id2label") or {}).values()]
    return shorten(", ".join(names) or f"what {task.config.name} asks for", 80, placeholder=" ...")


def prepare_benchmark(cfg: TrainConfig, task: Task[Any, Any]) -> LoadedBenchmark | None:
    """Read the questions of the benchmark to score after the training, if there is one."""
    if cfg.benchmark is None:
        return None
    benchmark = build_benchmark(cfg.benchmark)
    require_kind(benchmark, task.auto_class, f"the model of task {task.config.name}")
    return load_benchmark(benchmark)


def encode(
    task: Task[Any, Any], data: TaskData, backbone: Backbone, arguments: TrainingArguments
) -> EncodedData:
    """Make model inputs of the training split and the evaluation splits."""
    splits = {name: task.split(rows, backbone.processor) for name, rows in data.splits.items()}
    loose = splits[task.config.train_split].inputs
    train = task.training_inputs(loose)
    if train is not loose:
        announce_packing(cast(Dataset, loose), cast(Dataset, train), arguments)
    return EncodedData(
        train=train,
        evaluation={name: splits[name] for name in task.config.eval_splits},
        collate=task.collate(backbone.processor),
        class_weights=task.class_weights(data.splits[task.config.train_split]),
    )


def announce_packing(loose: Dataset, packed: Dataset, arguments: TrainingArguments) -> None:
    """Say what packing makes of the training rows: their number, tokens of a step, and padding."""
    size = arguments.per_device_train_batch_size
    before, after = (batch_shape(lengths(rows), size) for rows in (loose, packed))
    logger.info(
        "%d examples packed into %d rows: a batch of %d has %.0f tokens, %.1f%% of it padding; "
        "unpacked it would have %.0f and %.1f%%",
        *(len(loose), len(packed), size, after[0], 100 * after[1], before[0], 100 * before[1]),
    )


def batch_shape(sizes: np.ndarray, size: int) -> tuple[float, float]:
    """Return the mean tokens of a batch, and the share of its positions that is padding.

    Rows of `sizes` tokens are taken in order; another order gives about the same.
    """
    batches = [sizes[part.start : part.stop] for part in chunks(len(sizes), size)]
    places = sum(int(batch.max()) * len(batch) for batch in batches)
    return float(sizes.sum() / len(batches)), float(1 - sizes.sum() / places)

"""One run, ready to train: data, model and adapter loaded and checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peft import PeftModel
from transformers import TrainingArguments, set_seed

from goft_cli.config import TrainConfig
from goft_cli.models.adapters import ParameterCount, attach_adapter, count_parameters
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.tasks.base import Task, TaskData
from goft_cli.tasks.benchmark import LoadedBenchmark, load_benchmark, require_kind
from goft_cli.tasks.families import build_benchmark, build_task
from goft_cli.training import sharding
from goft_cli.training.trainer import EncodedData, training_arguments, update_count


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
    speaks: bool
    """Whether this process writes and logs for all that share the run."""


def prepare(cfg: TrainConfig, folder: RunFolder, *, speaks: bool) -> Job:
    """Load data and model, and put the adapter on."""
    set_seed(cfg.seed)
    task = build_task(cfg.task)
    arguments = training_arguments(cfg, folder.checkpoints, task)
    sharding.check_deepspeed(cfg, arguments)
    benchmark = prepare_benchmark(cfg, task)
    data = task.load()
    task = task.respelled(data.provenance)
    summary.announce(cfg, task.size_deviations(data))
    backbone = load_backbone(cfg.model, task)
    task.check_model(backbone.model)
    if benchmark:
        benchmark.check_model(backbone.model, backbone.processor)
    rows, head = len(data.splits[cfg.task.train_split]), cfg.model.head_modules
    updates = update_count(rows, cfg.trainer, arguments.world_size)
    model = attach_adapter(backbone, cfg.adapter, head, task.auto_class, updates)
    encoded = encode(task, data, backbone)
    counts = count_parameters(model, head)
    return Job(
        cfg, folder, task, data, encoded, arguments, backbone, model, counts, benchmark, speaks
    )


def prepare_benchmark(cfg: TrainConfig, task: Task[Any, Any]) -> LoadedBenchmark | None:
    """Read the questions of the benchmark to score after the training, if there is one."""
    if cfg.benchmark is None:
        return None
    benchmark = build_benchmark(cfg.benchmark)
    require_kind(benchmark, task.auto_class, f"the model of task {task.config.name}")
    return load_benchmark(benchmark)


def encode(task: Task[Any, Any], data: TaskData, backbone: Backbone) -> EncodedData:
    """Make model inputs of the training split and the evaluation splits."""
    splits = {name: task.split(rows, backbone.processor) for name, rows in data.splits.items()}
    return EncodedData(
        train=task.training_inputs(splits[task.config.train_split].inputs),
        evaluation={name: splits[name] for name in task.config.eval_splits},
        collate=task.collate(backbone.processor),
    )

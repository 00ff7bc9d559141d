"""`run` is the whole program: config, model and adapter, data, training, evaluation, report."""

from __future__ import annotations

import logging
from collections.abc import Sized
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, TrainingArguments, set_seed

from goft_cli import report
from goft_cli.adapters import (
    ParameterCount,
    attach_adapter,
    count_adapted_layers,
    count_parameters,
    load_adapter,
    merge,
)
from goft_cli.backbone import Backbone, load_backbone
from goft_cli.benchmarks.benchmarking import LoadedBenchmark, load_benchmark, require_kind
from goft_cli.config import Quantization, TrainConfig
from goft_cli.evaluation import (
    evaluation_splits,
    require_agreement,
    run_model,
    run_trainer,
    score_splits,
    tolerance,
)
from goft_cli.launching import sharding
from goft_cli.launching.ranks import join, leave, open_together, wait
from goft_cli.logs import logging_to, silent
from goft_cli.planning.record import recorded_forecast
from goft_cli.progress import console
from goft_cli.runs import manifest
from goft_cli.runs.run_folder import RunFolder, config_sha256, write_json
from goft_cli.tasks import Scores, build_benchmark, build_task
from goft_cli.tasks.base import Arrays, Split, Task, TaskData
from goft_cli.training.checkpoints import newest_complete
from goft_cli.training.schedules import EPOCH_RATES
from goft_cli.training.tracking import tracking
from goft_cli.training.trainer import (
    EncodedData,
    PenaltyTrainer,
    build_trainer,
    fit,
    training_arguments,
    update_count,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run, ready to train: what it is, where it goes, and everything loaded."""

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
    """Whether this process writes and speaks for all that share the run."""


@dataclass(frozen=True)
class Verification:
    """Outputs of the trained model, and how far the rebuilt and the merged one are from them."""

    merged: PreTrainedModel
    splits: dict[str, Split]
    outputs: dict[str, Arrays]
    reloaded_difference: float
    merged_difference: float
    tolerance: float


def run(cfg: TrainConfig) -> Path:
    """Fine-tune, keep the best checkpoint, save, rebuild, merge, score; return the run folder.

    Raises:
        GoftError: bad input, a diverging loss, or a rebuilt model that is not the trained one.
    """
    speaks = join(cfg)
    folder = open_together(cfg, speaks=speaks)
    if not folder.finished:
        work(cfg, folder, speaks=speaks)
        leave()
    elif speaks:
        report.show_finished(folder)
    return folder.path


def work(cfg: TrainConfig, folder: RunFolder, *, speaks: bool) -> None:
    """Do all that a run does in a folder of its own."""
    logs = logging_to(folder.log, console) if speaks else silent()
    curves = tracking(cfg.tracker, folder) if speaks else nullcontext()
    with logs, curves:
        job = prepare(cfg, folder, speaks=speaks)
        trainer = train(job)
        checked = verify(job, trainer)
        if speaks:
            finish(job, trainer, checked, score_benchmark(job, checked.merged))


def prepare(cfg: TrainConfig, folder: RunFolder, *, speaks: bool) -> Job:
    """Load data and model, put the adapter on, and record what will make the numbers."""
    set_seed(cfg.seed)
    task = build_task(cfg.task)
    arguments = training_arguments(cfg, folder, task)
    sharding.check_deepspeed(cfg, arguments)
    benchmark = prepare_benchmark(cfg, task)
    data = task.load()
    report.announce(cfg, task.size_deviations(data))
    backbone = load_backbone(cfg.model, task)
    task.check_model(backbone.model)
    if benchmark:
        benchmark.check_model(backbone.model, backbone.processor)
    rows = len(data.splits[cfg.task.train_split])
    updates = update_count(rows, cfg.trainer, arguments.world_size)
    model = attach_adapter(backbone, cfg.adapter, cfg.model.head_modules, task.auto_class, updates)
    encoded = encode(task, data, backbone)
    counts = count_parameters(model, cfg.model.head_modules)
    job = Job(
        cfg, folder, task, data, encoded, arguments, backbone, model, counts, benchmark, speaks
    )
    if speaks:
        write_manifest(job)
    return job


def prepare_benchmark(cfg: TrainConfig, task: Task[Any, Any]) -> LoadedBenchmark | None:
    """Read the questions of the benchmark to score after the training, if there is one."""
    if cfg.benchmark is None:
        return None
    benchmark = build_benchmark(cfg.benchmark)
    require_kind(benchmark, task.auto_class, f"the model of task {task.config.name}")
    return load_benchmark(benchmark)


def encode(task: Task[Any, Any], data: TaskData, backbone: Backbone) -> EncodedData:
    """Make model inputs of the training split and the evaluation splits."""
    splits = {
        name: Split(rows, task.encode(rows, backbone.processor))
        for name, rows in data.splits.items()
    }
    return EncodedData(
        train=splits[task.config.train_split].inputs,
        evaluation={name: splits[name] for name in task.config.eval_splits},
        collate=task.collate(backbone.processor),
    )


def train(job: Job) -> PenaltyTrainer:
    """Train from the newest whole checkpoint, or from the start, and save the best adapter."""
    rate = EPOCH_RATES.get(job.cfg.trainer.lr_scheduler_type.value)
    trainer = build_trainer(
        job.model, job.task, job.encoded, job.backbone.processor, job.arguments, rate
    )
    checkpoint = newest_complete(job.folder.checkpoints)
    if checkpoint is not None:
        sharding.check_same_engine(checkpoint)
        logger.info("resuming from %s", checkpoint.name)
    with sharding.unpickling_nothing():
        fit(trainer, checkpoint)
    state = sharding.whole_state(job.model)
    if job.speaks:
        job.model.save_pretrained(str(job.folder.adapter), state_dict=state)
        job.backbone.processor.save_pretrained(str(job.folder.adapter))
    wait()
    return trainer


def verify(job: Job, trainer: PenaltyTrainer) -> Verification:
    """Score the trained model, the one rebuilt from disk, and that one merged.

    Whatever shares the trained one out, the other two are whole in every process.

    Raises:
        GoftError: either differs from the trained one by more than rounding.
    """
    splits = job.encoded.evaluation or evaluation_splits(job.task, job.data, job.backbone.processor)
    trained = run_trainer(trainer, splits)
    sharding.leave()
    arguments = training_arguments(job.cfg, job.folder, job.task)

    def outputs_of(model: nn.Module) -> dict[str, Arrays]:
        return run_model(model, job.task, splits, job.encoded.collate, arguments)

    rebuilt = load_adapter(load_backbone(job.cfg.model, job.task), job.folder.adapter)
    allowed = tolerance(compute_dtype(job.cfg), count_adapted_layers(rebuilt))
    reloaded = require_agreement("reloaded", trained, outputs_of(rebuilt), allowed)
    if job.cfg.model.quantization:
        unpacked = load_backbone(job.cfg.model, job.task, unpacked=True)
        rebuilt = load_adapter(unpacked, job.folder.adapter)
    merged = merge(rebuilt)
    merged_difference = require_agreement("merged", trained, outputs_of(merged), allowed)
    return Verification(merged, splits, trained, reloaded, merged_difference, allowed)


def score_benchmark(job: Job, merged: PreTrainedModel) -> Scores | None:
    """Score the benchmark, if there is one, on the merged model."""
    if job.benchmark is None:
        return None
    batch_size = job.cfg.trainer.per_device_eval_batch_size
    return job.benchmark.score(merged, job.backbone.processor, job.folder.path, batch_size)


def compute_dtype(cfg: TrainConfig) -> torch.dtype:
    """Return the coarsest precision that a forward pass goes through."""
    # LLM.int8() rounds the activations to 8 bits: 1/127 of the largest, bfloat16's 2^-7.
    if cfg.trainer.bf16 or cfg.model.quantization is Quantization["8bit"]:
        return torch.bfloat16
    if cfg.trainer.fp16:
        return torch.float16
    return getattr(torch, cfg.model.dtype.value)


def write_manifest(job: Job) -> None:
    """Record what makes the numbers, before they are made."""
    content = {
        "config_sha256": config_sha256(job.cfg),
        "seed": job.cfg.seed,
        "recipe": report.describe_recipe(job.cfg),
        "model": {
            "path": job.cfg.model.path,
            "revision": getattr(job.backbone.model.config, "_commit_hash", None),
            "fingerprint": job.backbone.fingerprint,
        },
        "data": job.data.describe(job.cfg.task.benchmark_sizes),
        "benchmark": job.benchmark.describe() if job.benchmark else None,
        "environment": manifest.environment(),
    }
    write_json(job.folder.manifest, content)


def finish(
    job: Job, trainer: PenaltyTrainer, checked: Verification, benchmark: Scores | None
) -> None:
    """Write predictions, plot and numbers, and show the table; `metrics.json` comes last."""
    report.write_predictions(job.folder, job.task, checked.splits, checked.outputs)
    report.plot_curves(job.folder, trainer.state.log_history, job.cfg.task.headline)
    write_json(job.folder.history, {"logged": trainer.state.log_history})
    metrics = collect_metrics(job, trainer, checked)
    if job.benchmark and benchmark:
        metrics["metrics"][job.benchmark.name] = benchmark.metrics
        metrics["breakdown"] = {job.benchmark.name: benchmark.breakdown}
    write_json(job.folder.metrics, metrics)
    report.show_summary(job.folder, metrics, report.recorded_deviations(job.folder))


def collect_metrics(job: Job, trainer: PenaltyTrainer, checked: Verification) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    cfg = job.cfg
    scores = score_splits(job.task, checked.outputs, checked.splits)
    headline = scores[cfg.task.headline_split][cfg.task.headline]
    seen = len(cast("Sized", job.encoded.train)) * trainer.state.epoch
    return {
        "task": cfg.task.name,
        "model": cfg.model.name,
        "adapter": cfg.adapter.name,
        "seed": cfg.seed,
        "headline": {"name": cfg.task.headline, "value": headline},
        "metrics": scores,
        "trainable_parameters": job.counts.adapter,
        "head_parameters": job.counts.head,
        "train_loss": trainer.totals.loss / trainer.state.global_step,
        "train_seconds": trainer.totals.seconds,
        "samples_per_second": seen / trainer.totals.seconds,
        "seconds_per_update": trainer.totals.seconds / trainer.state.global_step,
        "peak_memory_bytes": manifest.peak_memory_bytes(),
        "best_checkpoint_step": trainer.state.best_global_step,
        "agreement": {
            "reloaded": checked.reloaded_difference,
            "merged": checked.merged_difference,
            "tolerance": checked.tolerance,
        },
        "forecast": recorded_forecast(cfg),
        "config_sha256": config_sha256(cfg),
    }

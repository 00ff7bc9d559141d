"""The end of a run: compare the model with the one on disk, write manifest and metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from goft_cli.config import Quantization, TrainConfig, Verify
from goft_cli.config.model import real_name
from goft_cli.models.adapter_loading import load_trained
from goft_cli.models.adapters import count_adapted_layers, merge, use_strength
from goft_cli.models.backbone import load_backbone
from goft_cli.run import layers, manifest, summary
from goft_cli.run.configuration import config_sha256
from goft_cli.run.folder import FORECAST
from goft_cli.run.layers import LayerReport
from goft_cli.run.prepare import Job
from goft_cli.run.provenance import adapter_sha256, describe_adapter, require_same_sources
from goft_cli.run.second_stage import first_stage
from goft_cli.system.files import note, read_json, write_json
from goft_cli.tasks.base import Arrays, Split
from goft_cli.tasks.benchmark import Scores
from goft_cli.training import sharding
from goft_cli.training.by_length import LongestFirst, at_places, taken
from goft_cli.training.evaluation import (
    COMPARED_ROWS,
    evaluation_splits,
    require_agreement,
    run_model,
    run_trainer,
    score_splits,
    tolerance,
)
from goft_cli.training.trainer import PenaltyTrainer, training_arguments

MEASURED = ("train_seconds", "samples_per_second", "seconds_per_update", "peak_memory_bytes")
"""Keys of `metrics.json` that depend on the machine; the others follow from the configuration."""


@dataclass(frozen=True)
class Verification:
    """Outputs of the trained model, and how far the rebuilt and the merged one are from them."""

    merged: PreTrainedModel
    splits: dict[str, Split]
    outputs: dict[str, Arrays]
    compared: dict[str, dict[str, int]]
    """By split, the number of model `inputs` on which the three were compared, `of` the total."""
    reloaded_difference: float
    merged_difference: float
    tolerance: float
    layers: Sequence[LayerReport] | None
    """How the adapter changed each layer; None if measuring it would have taken too long."""


def verify(job: Job, trainer: PenaltyTrainer) -> Verification:
    """Run the trained model, and on some rows the model rebuilt from disk and the merged one.

    The trained one may be sharded over the processes; the other two are whole in each.
    """
    use_strength(job.model, job.cfg.adapter.strength, key="adapter.strength")
    splits = job.encoded.evaluation or evaluation_splits(job.task, job.data, job.backbone.processor)
    trained = run_trainer(trainer, splits)
    sharding.forget_sharding()
    arguments = training_arguments(job.cfg, job.folder.checkpoints, job.task)
    places = compared_places(job.cfg, splits, arguments)
    expected = {name: at_places(trained[name], at) for name, at in places.items()}
    some = {
        name: Split(splits[name].rows, taken(splits[name].inputs, at))
        for name, at in places.items()
    }

    def outputs_of(model: nn.Module) -> dict[str, Arrays]:
        return run_model(model, job.task, some, job.encoded.collate, arguments)

    rebuilt = reloaded_model(job)
    allowed = tolerance(compute_dtype(job.cfg), count_adapted_layers(rebuilt))
    reloaded = require_agreement("reloaded", expected, outputs_of(rebuilt), allowed)
    if job.cfg.model.quantization:
        rebuilt = reloaded_model(job, unpacked=True)
    quick = not job.cfg.model.quantization and layers.is_quick(rebuilt, trainer.totals.seconds)
    with layers.measuring(rebuilt) if job.is_main and quick else nullcontext() as measured:
        merged = merge(rebuilt)
    difference = require_agreement("merged", expected, outputs_of(merged), allowed)
    sizes = {name: len(cast(Sized, split.inputs)) for name, split in splits.items()}
    compared = {name: {"inputs": len(at), "of": sizes[name]} for name, at in places.items()}
    return Verification(merged, splits, trained, compared, reloaded, difference, allowed, measured)


def compared_places(
    cfg: TrainConfig, splits: Mapping[str, Split], arguments: TrainingArguments
) -> dict[str, np.ndarray]:
    """Return, by split, the indices of the model inputs on which the models are compared.

    They make whole batches of the first evaluation, so that equal models give equal bits.
    """
    full = cfg.verify is Verify.full
    most = sys.maxsize if full else COMPARED_ROWS
    batch = arguments.eval_batch_size * arguments.world_size
    names = splits if full else [cfg.task.headline_split]
    return {name: LongestFirst.of(splits[name].inputs).sample(batch, most) for name in names}


def reloaded_model(job: Job, *, unpacked: bool = False) -> PeftModel:
    """Load base model and adapter again, as the run's configuration says."""
    backbone = load_backbone(job.cfg.model, job.task, unpacked=unpacked)
    return load_trained(backbone, job.folder.adapter, job.cfg, job.task.auto_class)


def compute_dtype(cfg: TrainConfig) -> torch.dtype:
    """Return the coarsest precision that a forward pass goes through."""
    # LLM.int8() rounds the activations to 8 bits: 1/127 of the largest, bfloat16's 2^-7.
    if cfg.trainer.bf16 or cfg.model.quantization is Quantization["8bit"]:
        return torch.bfloat16
    if cfg.trainer.fp16:
        return torch.float16
    return getattr(torch, cfg.model.dtype.value)


def write_manifest(job: Job) -> None:
    """Record what determines the results, before training."""
    content = {
        "config_sha256": config_sha256(job.cfg),
        "seed": job.cfg.seed,
        "recipe": summary.describe_recipe(job.cfg),
        "model": {
            **manifest.describe_base(job.cfg.model),
            "path": job.cfg.model.path,
            "fingerprint": job.backbone.fingerprint,
        },
        "data": job.data.describe(job.cfg.task.benchmark_sizes),
        "benchmark": job.benchmark.describe() if job.benchmark else None,
        "environment": manifest.environment(),
    }
    if job.cfg.adapter.strength != 1:
        content["strength"] = job.cfg.adapter.strength
    if source := first_stage(job.cfg):
        content["init_adapter"] = describe_adapter(source.folder)
    if job.folder.has_results and job.folder.manifest.is_file():
        require_same_sources(read_json(job.folder.manifest), content, job.folder.path)
    write_json(job.folder.manifest, content)


def finish(
    job: Job, trainer: PenaltyTrainer, checked: Verification, benchmark: Scores | None
) -> None:
    """Write predictions, plot and numbers, and show the table; `metrics.json` comes last."""
    summary.write_predictions(job.folder, job.task, checked.splits, checked.outputs)
    history, cfg = trainer.state.log_history, job.cfg
    summary.plot_curves(job.folder, history, cfg.task.headline, cfg.adapter.name)
    write_json(job.folder.history, {"logged": trainer.state.log_history})
    if checked.layers is not None:
        layers.write(job.folder.path, checked.layers)
    split = job.cfg.task.headline_split
    if classes := job.task.by_class(checked.outputs[split], checked.splits[split]):
        note(job.folder.path, job.folder.classes.name)
        write_json(job.folder.classes, {"split": split, **classes})
    adapter = {"adapter": {"sha256": adapter_sha256(job.folder)}}
    write_json(job.folder.manifest, read_json(job.folder.manifest) | adapter)
    metrics = collect_metrics(job, trainer, checked)
    if job.benchmark and benchmark:
        metrics["metrics"][job.benchmark.name] = benchmark.metrics
        metrics["breakdown"] = {job.benchmark.name: benchmark.breakdown}
    write_json(job.folder.metrics, metrics)
    summary.show_summary(job.folder, metrics, summary.recorded_deviations(job.folder))


def collect_metrics(job: Job, trainer: PenaltyTrainer, checked: Verification) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    cfg = job.cfg
    scores = score_splits(job.task, checked.outputs, checked.splits)
    headline = scores[cfg.task.headline_split][cfg.task.headline]
    seen = len(cast("Sized", job.encoded.train)) * trainer.state.epoch
    return {
        "task": cfg.task.name,
        "model": real_name(cfg.model),
        "adapter": cfg.adapter.name,
        "seed": cfg.seed,
        "headline": {"name": cfg.task.headline, "value": headline},
        "baseline": baseline(job, checked.splits[cfg.task.headline_split], headline),
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
            "compared": checked.compared,
        },
        FORECAST: recorded_forecast(job),
        "config_sha256": config_sha256(cfg),
    }


def baseline(job: Job, split: Split, headline: float) -> dict[str, Any] | None:
    """Return the headline of a constant answer; None if the task has no such answer."""
    task, config = job.task, job.task.config
    found = task.constant(job.data.splits[config.train_split], split)
    if found is None:
        return None
    answer, outputs = found
    value = task.score(outputs, split)[config.headline]
    better = headline > value if config.greater_is_better else headline < value
    return {"answer": answer, "value": value, "beaten": better}


def recorded_forecast(job: Job) -> dict[str, float | None] | None:
    """Return the forecast of `goft plan` for exactly this run; None without one."""
    recorded = read_json(job.folder.plan) if job.folder.plan.is_file() else {}
    return recorded[FORECAST] if recorded.get("config_sha256") == config_sha256(job.cfg) else None

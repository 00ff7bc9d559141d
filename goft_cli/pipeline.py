"""`run` is the whole program: config, model and adapter, data, training, evaluation, report."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import set_seed

from goft_cli import manifest, report
from goft_cli.backbone import Backbone, attach_adapter, count_parameters, load_adapter, load_backbone
from goft_cli.checkpoints import newest_complete
from goft_cli.config import TrainConfig
from goft_cli.evaluation import Outputs, require_agreement, run_model, score_splits, tolerance
from goft_cli.logs import logging_to
from goft_cli.progress import console
from goft_cli.run_folder import RunFolder, config_sha256, open_run, write_json
from goft_cli.tasks import build_task
from goft_cli.tasks.base import Task, TaskData
from goft_cli.trainer import (
    EncodedData,
    PenaltyTrainer,
    build_trainer,
    fit,
    prepare_tracker,
    training_arguments,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verification:
    """Outputs of the trained model, and how far the rebuilt and the merged one are from them."""

    outputs: dict[str, Outputs]
    reloaded_difference: float
    merged_difference: float
    tolerance: float


def run(cfg: TrainConfig) -> Path:
    """Fine-tune, keep the best checkpoint, save, rebuild, merge, score; return the run folder.

    Raises:
        GoftError: bad input, a diverging loss, or a rebuilt model that is not the trained one.
    """
    folder = open_run(cfg)
    if folder.finished:
        report.show_finished(folder)
        return folder.path
    with logging_to(folder.log, console):
        set_seed(cfg.seed)
        task = build_task(cfg.task)
        data = task.load()
        report.announce(cfg, task.size_deviations(data))
        backbone = load_backbone(cfg.model, task.auto_class, task.model_options())
        model = attach_adapter(backbone, cfg.adapter, cfg.model.head_modules, task.auto_class)
        write_manifest(cfg, folder, data, backbone, task)
        encoded = encode(task, data, backbone)
        trainer = train(cfg, folder, task, encoded, backbone, model)
        checked = verify(cfg, folder, task, encoded, trainer)
        finish(cfg, folder, task, data, trainer, checked)
    return folder.path


def encode(task: Task[Any], data: TaskData, backbone: Backbone) -> EncodedData:
    """Tokenize the training split and the evaluation splits."""
    rows = {name: task.encode(split, backbone.tokenizer) for name, split in data.splits.items()}
    return EncodedData(
        train=rows[task.config.train_split],
        evaluation={name: rows[name] for name in task.config.eval_splits},
        collate=task.collate(backbone.tokenizer),
    )


def train(
    cfg: TrainConfig,
    folder: RunFolder,
    task: Task[Any],
    data: EncodedData,
    backbone: Backbone,
    model: PeftModel,
) -> PenaltyTrainer:
    """Train from the newest whole checkpoint, or from the start, and save the best adapter."""
    prepare_tracker(cfg, folder)
    arguments = training_arguments(cfg, folder)
    trainer = build_trainer(model, task, data, backbone.tokenizer, arguments)
    checkpoint = newest_complete(folder.checkpoints)
    if checkpoint is not None:
        logger.info("resuming from %s", checkpoint)
    summary = fit(trainer, checkpoint)
    trainer.state.log_history.append({"summary": True, **summary})
    model.save_pretrained(str(folder.adapter))
    backbone.tokenizer.save_pretrained(str(folder.adapter))
    return trainer


def verify(
    cfg: TrainConfig,
    folder: RunFolder,
    task: Task[Any],
    data: EncodedData,
    trainer: PenaltyTrainer,
) -> Verification:
    """Score the trained model, the one rebuilt from disk, and that one merged.

    Raises:
        GoftError: either differs from the trained one by more than rounding.
    """
    arguments = trainer.args
    trained = run_model(trainer.model, data.evaluation, data.collate, arguments)
    fresh = load_backbone(cfg.model, task.auto_class, task.model_options())
    rebuilt = load_adapter(fresh, folder.adapter)
    layers = sum(1 for name, _ in rebuilt.named_modules() if name.endswith("base_layer"))
    allowed = tolerance(compute_dtype(cfg), layers)
    reloaded = run_model(rebuilt, data.evaluation, data.collate, arguments)
    reloaded_difference = require_agreement("reloaded", trained, reloaded, allowed)
    merged = run_model(rebuilt.merge_and_unload(), data.evaluation, data.collate, arguments)
    merged_difference = require_agreement("merged", trained, merged, allowed)
    return Verification(trained, reloaded_difference, merged_difference, allowed)


def compute_dtype(cfg: TrainConfig) -> torch.dtype:
    """Return the coarsest precision that a forward pass goes through."""
    if cfg.trainer.bf16:
        return torch.bfloat16
    if cfg.trainer.fp16:
        return torch.float16
    return getattr(torch, cfg.model.dtype.value)


def write_manifest(
    cfg: TrainConfig, folder: RunFolder, data: TaskData, backbone: Backbone, task: Task[Any]
) -> None:
    """Record what makes the numbers, before they are made."""
    deviations = task.size_deviations(data)
    write_json(
        folder.manifest,
        {
            "config_sha256": config_sha256(cfg),
            "seed": cfg.seed,
            "model": {
                "path": cfg.model.path,
                "revision": getattr(backbone.model.config, "_commit_hash", None),
                "fingerprint": backbone.fingerprint,
            },
            "data": {
                "rows": {name: len(split) for name, split in data.splits.items()},
                "is_the_benchmark": bool(cfg.task.benchmark_sizes) and not deviations,
                "size_deviations": {name: list(sizes) for name, sizes in deviations.items()},
                **data.provenance,
            },
            "environment": manifest.environment(),
        },
    )


def finish(
    cfg: TrainConfig,
    folder: RunFolder,
    task: Task[Any],
    data: TaskData,
    trainer: PenaltyTrainer,
    checked: Verification,
) -> None:
    """Write predictions, plot and numbers, and show the table; `metrics.json` comes last."""
    scores = score_splits(task, checked.outputs)
    report.write_predictions(folder, task, data, checked.outputs)
    report.plot_curves(folder, trainer.state.log_history, cfg.task.headline)
    summary = trainer.state.log_history[-1]
    counts = count_parameters(trainer.model)
    metrics = {
        "task": cfg.task.name,
        "model": cfg.model.name,
        "adapter": cfg.adapter.name,
        "seed": cfg.seed,
        "headline": {
            "name": cfg.task.headline,
            "value": scores[cfg.task.headline_split][cfg.task.headline],
        },
        "metrics": scores,
        "trainable_parameters": counts.adapter,
        "head_parameters": counts.head,
        "train_seconds": summary["train_runtime"],
        "samples_per_second": summary["train_samples_per_second"],
        "peak_memory_bytes": manifest.peak_memory_bytes(),
        "best_checkpoint_step": trainer.state.best_global_step,
        "agreement": {
            "reloaded": checked.reloaded_difference,
            "merged": checked.merged_difference,
            "tolerance": checked.tolerance,
        },
        "config_sha256": config_sha256(cfg),
    }
    write_json(folder.metrics, metrics)
    report.show_summary(folder, metrics, task.size_deviations(data))

"""The trained model against the one rebuilt from disk, and against that one merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from goft_cli.config import Quantization, TrainConfig
from goft_cli.models.adapter_loading import load_trained
from goft_cli.models.adapters import count_adapted_layers, merge
from goft_cli.models.backbone import load_backbone
from goft_cli.prepare import Job
from goft_cli.tasks.base import Arrays, Split
from goft_cli.training import sharding
from goft_cli.training.evaluation import (
    evaluation_splits,
    require_agreement,
    run_model,
    run_trainer,
    tolerance,
)
from goft_cli.training.trainer import PenaltyTrainer, training_arguments


@dataclass(frozen=True)
class Verification:
    """Outputs of the trained model, and how far the rebuilt and the merged one are from them."""

    merged: PreTrainedModel
    splits: dict[str, Split]
    outputs: dict[str, Arrays]
    reloaded_difference: float
    merged_difference: float
    tolerance: float


def verify(job: Job, trainer: PenaltyTrainer) -> Verification:
    """Score the trained model, the one rebuilt from disk, and that one merged.

    Whatever shares the trained one out, the other two are whole in every process.
    """
    splits = job.encoded.evaluation or evaluation_splits(job.task, job.data, job.backbone.processor)
    trained = run_trainer(trainer, splits)
    sharding.leave()
    arguments = training_arguments(job.cfg, job.folder.checkpoints, job.task)

    def outputs_of(model: nn.Module) -> dict[str, Arrays]:
        return run_model(model, job.task, splits, job.encoded.collate, arguments)

    rebuilt = reloaded_model(job)
    allowed = tolerance(compute_dtype(job.cfg), count_adapted_layers(rebuilt))
    reloaded = require_agreement("reloaded", trained, outputs_of(rebuilt), allowed)
    if job.cfg.model.quantization:
        rebuilt = reloaded_model(job, unpacked=True)
    merged = merge(rebuilt)
    merged_difference = require_agreement("merged", trained, outputs_of(merged), allowed)
    return Verification(merged, splits, trained, reloaded, merged_difference, allowed)


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

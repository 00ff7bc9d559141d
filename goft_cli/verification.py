"""The trained model against the one rebuilt from disk, and against that one merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from goft_cli.adapters import count_adapted_layers, load_adapter, merge
from goft_cli.backbone import load_backbone
from goft_cli.config import Quantization, TrainConfig
from goft_cli.evaluation import (
    evaluation_splits,
    require_agreement,
    run_model,
    run_trainer,
    tolerance,
)
from goft_cli.job import Job
from goft_cli.launching import sharding
from goft_cli.tasks.base import Arrays, Split
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


def compute_dtype(cfg: TrainConfig) -> torch.dtype:
    """Return the coarsest precision that a forward pass goes through."""
    # LLM.int8() rounds the activations to 8 bits: 1/127 of the largest, bfloat16's 2^-7.
    if cfg.trainer.bf16 or cfg.model.quantization is Quantization["8bit"]:
        return torch.bfloat16
    if cfg.trainer.fp16:
        return torch.float16
    return getattr(torch, cfg.model.dtype.value)

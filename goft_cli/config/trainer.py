"""How it trains, and where the curves go."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omegaconf import MISSING

from goft_cli.config.checks import check
from goft_cli.config.choices import (
    EvalStrategy,
    Optimizer,
    Sampling,
    Scheduler,
    TrackerName,
    WandbMode,
)


@dataclass
class TrainerConfig:
    """Fields of `transformers.TrainingArguments`, by their own names."""

    learning_rate: float = MISSING
    num_train_epochs: float = MISSING
    max_steps: int = -1
    per_device_train_batch_size: int = MISSING
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: Scheduler = Scheduler.linear
    warmup_steps: float = MISSING
    """Updates, or below 1 the share of all updates."""
    weight_decay: float = MISSING
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.0
    optim: Optimizer = Optimizer.adamw_torch
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    bf16: bool = False
    fp16: bool = False
    tf32: bool | None = None
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    eval_strategy: EvalStrategy = EvalStrategy.epoch
    eval_steps: float | None = None
    """Updates, or below 1 the share of all updates."""
    logging_steps: int = 10
    save_total_limit: int = 2
    dataloader_drop_last: bool = False
    """Leave the last, incomplete batch of an epoch out; an evaluation takes every row."""
    dataloader_num_workers: int = 0
    full_determinism: bool = False
    use_cpu: bool = False
    train_sampling_strategy: Sampling = Sampling.random

    def __post_init__(self) -> None:
        """Check the ranges that `TrainingArguments` would accept or report late."""
        self._positive("learning_rate", 1e-3)
        self._positive("num_train_epochs", 3)
        for key in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            self._positive(key, 32)
        self._positive("gradient_accumulation_steps", 1)
        self._positive("logging_steps", 10)
        self._positive("save_total_limit", 2)
        for key in ("weight_decay", "warmup_steps", "max_grad_norm", "dataloader_num_workers"):
            value = getattr(self, key)
            check(
                0 <= value < math.inf,
                key=f"trainer.{key}",
                value=value,
                expected="at least 0",
                example=0,
            )
        steps = self.eval_steps
        check(
            self.eval_strategy is EvalStrategy.epoch or (steps is not None and steps > 0),
            key="trainer.eval_steps",
            value=steps,
            expected="updates, or a share of them, when trainer.eval_strategy=steps",
            example=100,
        )

    def _positive(self, key: str, example: float) -> None:
        value = getattr(self, key)
        check(
            0 < value < math.inf,
            key=f"trainer.{key}",
            value=value,
            expected="above 0",
            example=example,
        )


@dataclass
class TrackerConfig:
    """An experiment tracker, off by default."""

    name: TrackerName = TrackerName.none
    project: str = "goft"
    mode: WandbMode = WandbMode.online

"""Callbacks of the training loop: checks that stop it, a progress bar; and schedules."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from rich.progress import Progress
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from goft_cli.config import TrainerConfig
from goft_cli.system.errors import UnusableError
from goft_cli.system.screen import bar

logger = logging.getLogger(__name__)

FACT_START = 1e-6
FACT_FLOOR = 1e-5


class EpochRate(Protocol):
    """The learning rate of one epoch."""

    def __call__(self, done: int, *, peak: float, warmup: float, epochs: float) -> float:
        """Return the learning rate after `done` epochs; `warmup` and `epochs` are in epochs."""
        ...


class FiniteGradients(TrainerCallback):
    """Stops training before an update with a gradient that is not finite.

    A NaN may not reach the loss, because of attention masks, but it does reach the gradients.
    """

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: object,
    ) -> None:
        """Check the accumulated gradients."""
        if model is None or args.fp16:  # fp16's loss scaler expects infinities and skips them
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not torch.isfinite(nn.utils.get_total_norm(gradients)):
            raise diverged("a gradient is not finite", state)


def diverged(what: str, state: TrainerState) -> UnusableError:
    """Return the error for a training that cannot go on."""
    return UnusableError(
        f"{what} at step {state.global_step + 1}",
        "training stopped and the last checkpoint is kept: try a lower trainer.learning_rate, or "
        "trainer.bf16 instead of trainer.fp16",
    )


class StopWithoutFolder(TrainerCallback):
    """Checks after each update, before a checkpoint is written, that the run folder exists."""

    def __init__(self, check_there: Callable[[], None]) -> None:
        self.check_there = check_there

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """End the run if the folder is gone."""
        self.check_there()


class EarlyStopping(EarlyStoppingCallback):
    """Transformers' early stopping; a resumed run continues the count of its checkpoint."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Read the count from the checkpoint; it may already be at its limit."""
        kept: Any = state.stateful_callbacks
        vars(self).update(kept[type(self).__name__]["attributes"])
        control.should_training_stop |= self._has_waited

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: object,
    ) -> None:
        """Count this evaluation, and log it if the training ends."""
        super().on_evaluate(args, state, control, metrics)
        if self._has_waited and state.global_step < state.max_steps:
            logger.info(
                "stopped early after update %d of %d: evaluations without a better %s: %d",
                *(state.global_step, state.max_steps, args.metric_for_best_model),
                self.early_stopping_patience_counter,
            )

    @property
    def _has_waited(self) -> bool:
        return self.early_stopping_patience_counter >= self.early_stopping_patience


def early_stopping(trainer: TrainerConfig) -> EarlyStopping | None:
    """Return the early-stopping callback; None if it is not configured."""
    patience = trainer.early_stopping_patience
    return None if patience is None else EarlyStopping(patience, trainer.early_stopping_threshold)


class ProgressBar(TrainerCallback):
    """Shows updates done, time left, task loss and the headline of the last evaluation."""

    def __init__(self, headline: str) -> None:
        self.headline = headline
        self.loss = self.score = ""
        self.bar: Progress | None = None

    def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Start the bar on the main process, at the step training resumes from."""
        if not state.is_world_process_zero:
            return
        self.bar = bar("training")
        self.bar.add_task("", total=state.max_steps, completed=state.global_step, status="")
        self.bar.start()

    def on_step_end(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Advance by one update."""
        self._show(state.global_step)

    def on_log(
        self,
        args: object,
        state: TrainerState,
        control: object,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Show the last loss and the last score."""
        values, metric = logs or {}, f"eval_{self.headline}"
        if "loss" in values:
            self.loss = f"loss {values['loss']:.4f}"
        if metric in values:
            self.score = f"{self.headline} {values[metric]:.4f}"
        self._show(state.global_step)

    def on_train_end(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Leave the finished bar on the screen."""
        self.close()

    def close(self) -> None:
        """Stop drawing; also called when training ends by an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _show(self, step: int) -> None:
        if self.bar is not None:
            status = "  ".join(text for text in (self.loss, self.score) if text)
            self.bar.update(self.bar.task_ids[0], completed=step, status=status)


def fact_cosine(done: int, *, peak: float, warmup: float, epochs: float) -> float:
    """Return the learning rate of one epoch under FacT's schedule for VTAB-1K.

    Linear from 1e-6 towards `peak` over the warm-up, then a cosine down to 1e-5. It keeps two
    properties of the original (PETL-ViT's FacT/fact_tk.py on timm's CosineLRScheduler): it steps
    after each epoch with the number of that epoch, so the first two epochs train at 1e-6; and the
    cosine includes the epochs of the warm-up, so `peak` is never reached.
    """
    last = max(done - 1, 0)
    if last < warmup:
        return FACT_START + last * (peak - FACT_START) / warmup
    return FACT_FLOOR + (peak - FACT_FLOOR) * (1 + math.cos(math.pi * last / epochs)) / 2


EPOCH_RATES: Mapping[str, EpochRate] = {"fact_cosine": fact_cosine}
"""The schedules by `trainer.lr_scheduler_type`."""


def by_epoch(
    rate: EpochRate, optimizer: Optimizer, *, updates: int, warmup: int, epochs: float
) -> LambdaLR:
    """Return a schedule with one learning rate per epoch; the optimizer's rate is the peak.

    `updates` and `warmup` are numbers of updates, of the whole training and of its warm-up.
    """
    peak = optimizer.param_groups[0]["lr"]
    per_epoch = math.ceil(updates / epochs)
    lengths = {"warmup": warmup / per_epoch, "epochs": updates / per_epoch}
    return LambdaLR(optimizer, lambda done: rate(done // per_epoch, peak=peak, **lengths) / peak)

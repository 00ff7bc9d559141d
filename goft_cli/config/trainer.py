"""How a run trains, in how many processes, and which tracker gets its curves."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from goft_cli.config.choices import (
    OPEN,
    EvalStrategy,
    GlobalBatch,
    Optimizer,
    Sampling,
    Scheduler,
    Section,
    TrackerName,
    WandbMode,
)
from goft_cli.system.errors import GoftError

FIXED_SCHEDULES = {Scheduler.constant, Scheduler.constant_with_warmup, Scheduler.fact_cosine}
"""Schedules without arguments."""
JUDGED_SCHEDULES = {Scheduler.reduce_lr_on_plateau, Scheduler.greedy}
"""Schedules that change the learning rate by whether the headline improves."""


@dataclass
class TrainerConfig(Section):
    """Fields of `transformers.TrainingArguments`, under their names there."""

    prefix = "trainer."
    learning_rate: float = MISSING
    """Peak learning rate."""
    num_train_epochs: float = MISSING
    """Passes over the training rows."""
    max_steps: int = -1
    """Number of updates, instead of `num_train_epochs`; -1 to use epochs."""
    per_device_train_batch_size: int = MISSING
    """Rows of a training batch on each device."""
    per_device_eval_batch_size: int = 64
    """Rows of an evaluation batch on each device."""
    gradient_accumulation_steps: int = 1
    """Batches per update."""
    lr_scheduler_type: Scheduler = Scheduler.linear
    """Schedule of the learning rate after the warm-up."""
    lr_scheduler_kwargs: dict[str, Any] = field(default_factory=dict, metadata=OPEN)
    """Arguments of the schedule, such as `{num_cycles: 3}`."""
    warmup_steps: float = MISSING
    """Warm-up updates; a value below 1 is a share of all updates."""
    weight_decay: float = MISSING
    """Weight decay; biases and layer norms have none."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    label_smoothing_factor: float = 0.0
    """Share of the label's probability that is spread over all classes; the logged loss has it
    too."""
    early_stopping_patience: int | None = None
    """Stop training after this many evaluations without a better headline; by default never."""
    early_stopping_threshold: float = 0.0
    """Smallest improvement over the best headline so far that counts as better."""
    optim: Optimizer = Optimizer.adamw_torch
    """The optimizer."""
    adam_beta1: float = 0.9
    """Decay of AdamW's running mean of the gradients."""
    adam_beta2: float = 0.999
    """Decay of AdamW's running mean of the squared gradients."""
    adam_epsilon: float = 1e-8
    """Number that AdamW adds to its denominator."""
    bf16: bool = False
    """Train with bfloat16 autocast."""
    fp16: bool = False
    """Train with float16 autocast and a scaled loss."""
    tf32: bool | None = None
    """Multiply float32 matrices in TF32 on GPUs that have it; by default torch chooses."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them."""
    torch_compile: bool = False
    """Compile the model with torch.compile."""
    eval_strategy: EvalStrategy = EvalStrategy.epoch
    """When to score and keep a checkpoint: after each epoch, or every `eval_steps` updates."""
    eval_steps: float | None = None
    """Updates between evaluations; a value below 1 is a share of all updates."""
    logging_steps: int = 10
    """Updates between two lines of the log."""
    save_total_limit: int = 2
    """Number of checkpoints to keep, in addition to the best one."""
    dataloader_drop_last: bool = False
    """Drop the last, incomplete batch of an epoch; evaluation always uses every row."""
    dataloader_num_workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    full_determinism: bool = False
    """Use deterministic operations only: slower, but every run on a GPU has the same bits."""
    use_cpu: bool = False
    """Train on the CPU even if there is a GPU."""
    train_sampling_strategy: Sampling = Sampling.random
    """Order of the training rows."""
    max_tokens_per_batch: int | None = None
    """Most tokens, padding included, in one forward pass of training; a larger batch is split: same
    gradient, less memory."""
    extra: dict[str, Any] = field(default_factory=dict, metadata=OPEN)
    """Every other field of `transformers.TrainingArguments`, such as `{neftune_noise_alpha: 5}`."""

    def __post_init__(self) -> None:
        # `TrainingArguments` would accept these values, or refuse them late
        positive = {
            "learning_rate": 1e-3,
            "num_train_epochs": 3,
            "per_device_train_batch_size": 32,
            "per_device_eval_batch_size": 32,
            "gradient_accumulation_steps": 1,
            "logging_steps": 10,
            "save_total_limit": 2,
        }
        for key, example in positive.items():
            self.check(0 < getattr(self, key) < math.inf, key, "above 0", example=example)
        least = ("weight_decay", "warmup_steps", "max_grad_norm", "dataloader_num_workers")
        for key in (*least, "early_stopping_threshold"):
            self.check(0 <= getattr(self, key) < math.inf, key, "at least 0", example=0)
        smoothed = 0 <= self.label_smoothing_factor < 1
        self.check(smoothed, "label_smoothing_factor", "at least 0 and below 1", example=0.1)
        counted = self.max_steps > 0 or self.max_steps == -1
        self.check(counted, "max_steps", "above 0, or -1 to use epochs", example=100)
        patience = self.early_stopping_patience
        counts = patience is None or patience > 0
        self.check(counts, "early_stopping_patience", "at least 1 evaluation", example=3)
        most = self.max_tokens_per_batch
        self.check(most is None or most > 0, "max_tokens_per_batch", "at least 1", example=4096)
        if self.lr_scheduler_kwargs and self.lr_scheduler_type in FIXED_SCHEDULES:
            raise GoftError(
                f"trainer.lr_scheduler_kwargs: the schedule {self.lr_scheduler_type.value} takes "
                "no arguments",
                "leave them out, or pass another trainer.lr_scheduler_type",
            )
        by_epoch, steps = self.eval_strategy is EvalStrategy.epoch, self.eval_steps
        expected = "updates, or a share of them, when trainer.eval_strategy=steps"
        self.check(by_epoch or (steps or 0) > 0, "eval_steps", expected, example=100)

    def check_judged(self, task: str) -> None:
        """Refuse what depends on the scores of evaluations, for a task without evaluations."""
        if self.early_stopping_patience is not None:
            found = f"early_stopping_patience={self.early_stopping_patience}"
        elif self.lr_scheduler_type in JUDGED_SCHEDULES:
            found = f"lr_scheduler_type={self.lr_scheduler_type.value}"
        else:
            return
        raise GoftError(
            f"trainer.{found}: it needs the headline of each evaluation, and task {task} has no "
            "evaluation split",
            "leave it out, or name a split with task.eval_splits=[NAME]",
        )


@dataclass
class TrackerConfig:
    """An experiment tracker, off by default."""

    name: TrackerName = TrackerName.none
    """The tracker that gets the curves."""
    project: str = "goft"
    """Name of the project in the tracker."""
    mode: WandbMode = WandbMode.online
    """Whether W&B, Comet, SwanLab and ClearML upload at once, or write files for a later upload."""


@dataclass
class LauncherConfig(Section):
    """The processes of one run on this machine, one per GPU."""

    prefix = "launcher."
    num_processes: int = 1
    """Processes on this machine, one for each GPU."""

    def __post_init__(self) -> None:
        self.check(self.num_processes > 0, "num_processes", "at least 1", example=2)


def processes() -> int:
    """Return the number of processes that train together, which torchrun and accelerate set."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_batch(most: int, update: GlobalBatch | None, devices: int) -> int:
    """Return one device's batch size: the largest up to `most` that divides an update evenly."""
    if update is None:
        return most
    share, rest = divmod(update.value, max(devices, 1))
    if rest:
        raise uneven(update, f"devices: {devices}")
    return max(size for size in range(1, most + 1) if share % size == 0)


def accumulation_steps(steps: int, size: int, update: GlobalBatch | None, devices: int) -> int:
    """Return the number of batches per update on one device; `steps` if `update` is None."""
    if update is None or size < 1:  # a size out of range is refused with the other ranges
        return steps
    steps, rest = divmod(update.value, size * max(devices, 1))
    if rest:
        raise uneven(update, f"devices: {devices}, batch on each: {size}")
    return steps


def uneven(update: GlobalBatch, parts: str) -> GoftError:
    """Return the error for examples that do not divide evenly."""
    return GoftError(
        f"task.global_batch={update.name}: {update.value} examples do not divide evenly ({parts})",
        "pass trainer.per_device_train_batch_size and trainer.gradient_accumulation_steps "
        "to choose both yourself",
    )

"""transformers.Trainer with the adapter's penalty, which is logged apart from the task loss."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import SchedulerType

from goft_cli.config import TrackerName, TrainConfig, TrainerConfig
from goft_cli.config.choices import Sampling
from goft_cli.config.trainer import JUDGED_SCHEDULES
from goft_cli.models.adalora import AdaLora, RankAllocation
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Collator, Inputs, Split, Task
from goft_cli.tasks.tokens import lengths
from goft_cli.training.by_length import ByLength, LongestFirst, parts_of, weight_of
from goft_cli.training.callbacks import (
    EPOCH_RATES,
    EarlyStopping,
    EpochRate,
    FiniteGradients,
    ProgressBar,
    by_epoch,
    diverged,
)
from goft_cli.training.evaluation import join_batches
from goft_cli.training.resuming import ResumableTrainer
from goft_cli.training.weighted_loss import WeightedLoss
from goft_cli.tuner.penalty import PenaltyMixin

Items = Tensor | int | None


@dataclass(frozen=True)
class EncodedData:
    """Model inputs of the training split, and every evaluation split with its rows."""

    train: Inputs
    evaluation: dict[str, Split]
    collate: Collator
    class_weights: np.ndarray | None = None
    """Weight of each class in the training loss; None if all are equal."""


class PenaltyTrainer(PenaltyMixin, ResumableTrainer):
    """Trainer with the penalty, every schedule of the paper, and a loss that stays finite."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - Trainer's own
        rate: EpochRate | None = None,
        most_tokens: int | None = None,
        **kwargs: Any,  # noqa: ANN401 - Trainer's own
    ) -> None:
        super().__init__(*args, **kwargs)
        self._rate, self._most_tokens = rate, most_tokens
        self.add_callback(FiniteGradients)

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Compute the gradients of one micro-batch with its penalty; return the task loss."""
        parts = parts_of(inputs, self._most_tokens) if self._most_tokens else [inputs]
        loss = self._sum_over(parts, model, num_items_in_batch)
        if not torch.isfinite(loss):
            raise diverged(f"the loss became {loss.item()}", self.state)
        if self.is_deepspeed_enabled:
            self._check_update_of_deepspeed()
        self.totals.loss += loss.item()
        return loss

    def _sum_over(self, parts: Sequence[dict[str, Any]], model: nn.Module, items: Items) -> Tensor:
        """Compute a micro-batch in parts, each weighted by its share of the mean loss.

        Trainer and `PenaltyMixin` divide by the number of micro-batches in an update; for a part,
        that number is replaced by the number of parts of its weight in an update.
        """
        if len(parts) == 1:
            return super().training_step(model, parts[0], items)
        steps = self.current_gradient_accumulation_steps
        shares = [weight_of(part) for part in parts]
        found = []
        for share, part in zip(shares, parts, strict=True):
            vars(self)["current_gradient_accumulation_steps"] = steps * sum(shares) / share
            # processes exchange gradients only after the last part, which each of them has
            waits = nullcontext() if part is parts[-1] else self.accelerator.no_sync(model)
            with waits:
                found.append(super().training_step(model, part, items))
        self.current_gradient_accumulation_steps = steps
        return torch.stack(found).sum()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:  # noqa: ANN401 - Trainer's own
        rows = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == Sampling.group_by_length
        if grouped and isinstance(rows, Dataset):
            batch = self.args.train_batch_size * self.args.world_size
            update = batch * self.args.gradient_accumulation_steps
            return ByLength(update, lengths(rows).tolist(), self.args.seed, self._epoch)
        return super()._get_train_sampler(train_dataset)

    def _epoch(self) -> int:
        return int(self.state.epoch or 0)

    def _check_update_of_deepspeed(self) -> None:
        """Stop at a gradient that is not finite: DeepSpeed would skip one update after another.

        It takes its update at the end of the backward pass, and keeps no gradient for
        `FiniteGradients` to see.
        """
        if self.accelerator.sync_gradients and not self.args.fp16:
            norm = cast(Any, self.deepspeed).get_global_grad_norm()
            if not 0 <= norm < math.inf:
                raise diverged("a gradient is not finite", self.state)

    def create_scheduler(
        self, num_training_steps: int, optimizer: Optimizer | None = None
    ) -> LRScheduler:
        """Return goft's own schedule, or transformers'."""
        if self.lr_scheduler is None and self._rate is not None:
            self.lr_scheduler = by_epoch(
                self._rate,
                cast("Optimizer", optimizer or self.optimizer),
                updates=num_training_steps,
                warmup=self.args.get_warmup_steps(num_training_steps),
                epochs=self.args.num_train_epochs,
            )
        return super().create_scheduler(num_training_steps, optimizer)


def training_arguments(
    cfg: TrainConfig, checkpoints: Path, task: Task[Any, Any]
) -> TrainingArguments:
    """Return Trainer's arguments; the keys under `trainer` already have its names."""
    given = {entry.name: getattr(cfg.trainer, entry.name) for entry in fields(cfg.trainer)}
    own = {key: one.value if isinstance(one, Enum) else one for key, one in given.items()}
    for key in ("early_stopping_patience", "early_stopping_threshold", "max_tokens_per_batch"):
        del own[key]  # see `build_trainer`
    own |= own.pop("extra")
    if cfg.trainer.lr_scheduler_type in JUDGED_SCHEDULES:  # which take a loss for the headline
        mode = {"mode": "max" if cfg.task.greater_is_better else "min"}
        own["lr_scheduler_kwargs"] = mode | cfg.trainer.lr_scheduler_kwargs
    if not own["gradient_checkpointing"]:
        del own["gradient_checkpointing"]  # renamed in transformers 5.23: naming it at all warns
    if own["lr_scheduler_type"] in EPOCH_RATES:
        own["lr_scheduler_type"] = "constant"  # a name that Trainer knows; create_scheduler decides
    try:
        arguments = TrainingArguments(**own | fixed_arguments(cfg, checkpoints, task))
    except (TypeError, ValueError) as error:
        hint = "add trainer.use_cpu=true on a machine without GPU" if cfg.trainer.bf16 else ""
        raise GoftError(f"trainer: {' '.join(str(error).split())}", hint) from error
    check_schedule(arguments)
    # Several visible GPUs without a launcher would mean DataParallel. The layers' penalties stay in
    # its replicas, so that the logged loss would contain them.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def check_schedule(arguments: TrainingArguments) -> None:
    """Refuse arguments that the schedule does not accept, and missing ones."""
    rehearsed = torch.optim.SGD([torch.zeros(1)], lr=arguments.learning_rate)
    name = SchedulerType(arguments.lr_scheduler_type)
    own = cast("dict[str, Any]", arguments.lr_scheduler_kwargs)
    try:
        get_scheduler(name, rehearsed, 1, 10, own)
    except (TypeError, ValueError) as error:
        raise GoftError(
            f"trainer.lr_scheduler_type={name.value} with trainer.lr_scheduler_kwargs={own}: "
            f"{' '.join(str(error).split())}",
            "pass the arguments in the documentation of transformers' schedules",
        ) from error


def fixed_arguments(cfg: TrainConfig, checkpoints: Path, task: Task[Any, Any]) -> dict[str, Any]:
    """Return the arguments that follow from the task, the run folder and the tracker.

    A task without evaluation splits keeps checkpoints at the same moments, and its last weights.
    """
    moments, evaluated = cfg.trainer.eval_strategy.value, bool(cfg.task.eval_splits)
    return {
        "output_dir": str(checkpoints),
        "seed": cfg.seed,
        "label_names": list(task.label_names),
        "eval_strategy": moments if evaluated else "no",
        "save_strategy": moments,
        "save_steps": cfg.trainer.eval_steps or 1,
        "load_best_model_at_end": evaluated,
        "metric_for_best_model": cfg.task.headline,
        "greater_is_better": cfg.task.greater_is_better,
        "report_to": [] if cfg.tracker.name is TrackerName.none else [cfg.tracker.name.value],
        "project": cfg.tracker.project,
        "run_name": f"{cfg.task.name}/{cfg.model.name}/{cfg.adapter.name}/{cfg.run_name}",
        "disable_tqdm": True,
        "eval_do_concat_batches": False,  # `single` joins them, once in place of once a batch
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def update_count(rows: int, trainer: TrainerConfig | TrainingArguments, processes: int) -> int:
    """Return the number of Trainer's updates, if each row is one model input."""
    if trainer.max_steps > 0:
        return trainer.max_steps
    whole = math.floor if trainer.dataloader_drop_last else math.ceil
    batches = whole(rows / (trainer.per_device_train_batch_size * processes))
    per_epoch = math.ceil(batches / trainer.gradient_accumulation_steps)
    return math.ceil(trainer.num_train_epochs * per_epoch)


def build_trainer(
    model: nn.Module,
    task: Task[Any, Any],
    data: EncodedData,
    processor: Any,  # noqa: ANN401 - a tokenizer or an image processor, saved with checkpoints
    arguments: TrainingArguments,
    rate: EpochRate | None = None,
    stopping: EarlyStopping | None = None,
    most_tokens: int | None = None,
) -> PenaltyTrainer:
    """Assemble the trainer; the first evaluation split, if any, picks the best checkpoint."""
    require_a_batch(data.train, arguments)
    judge = next(iter(data.evaluation.values()), None)
    ordered = None if judge is None else LongestFirst.of(judge.inputs)

    def metrics(prediction: Any) -> dict[str, float]:  # noqa: ANN401 - EvalPrediction
        if judge is None or ordered is None:
            return {}
        scores = task.score(ordered.restore(join_batches(prediction.predictions)), judge)
        return trainer.mean_loss() | scores

    weights, smoothing = data.class_weights, arguments.label_smoothing_factor
    trainer = PenaltyTrainer(
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=None if ordered is None else ordered.inputs,
        data_collator=data.collate,
        processing_class=processor,
        compute_metrics=metrics,
        compute_loss_func=None if weights is None else WeightedLoss(weights, smoothing),
        reduce=task.reduce,
        rate=rate,
        most_tokens=most_tokens,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressBar(task.config.headline))
    if stopping is not None:
        trainer.add_callback(stopping)
    tuner = getattr(model, "base_model", None)
    if isinstance(tuner, AdaLora):
        trainer.add_callback(RankAllocation(tuner))
    return trainer


def require_a_batch(rows: Inputs, arguments: TrainingArguments) -> None:
    """Refuse a training without any update."""
    batch = arguments.train_batch_size * arguments.world_size
    if arguments.dataloader_drop_last and len(cast("Sized", rows)) < batch:
        raise GoftError(
            f"{len(cast('Sized', rows))} training rows do not fill one batch of {batch}, and "
            "incomplete ones are left out",
            "pass a smaller trainer.per_device_train_batch_size, or "
            "trainer.dataloader_drop_last=false",
        )


def fit(trainer: Trainer, resume_from: Path | None) -> None:
    """Train to the end, then load the best checkpoint's weights."""
    try:
        trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()  # a thread draws it, and a notebook goes on after an error

"""transformers.Trainer, plus the adapter's penalty, kept apart from the reported task loss."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from goft_cli.config import TrackerName, TrainConfig, WandbMode
from goft_cli.errors import GoftError
from goft_cli.evaluation import InOrder, reducer, single
from goft_cli.progress import ProgressBar
from goft_cli.run_folder import RunFolder
from goft_cli.tasks.base import Collator, Inputs, Split, Task


@dataclass(frozen=True)
class EncodedData:
    """Model inputs of the training split, and every evaluation split with its rows."""

    train: Inputs
    evaluation: dict[str, Split]
    collate: Collator


class PenaltyTrainer(InOrder):
    """Adds the penalties that layers left behind in their forward pass.

    A layer takes part by offering `penalty: Tensor | None`, already weighted. Reading it after the
    forward pass, and not the parameters, also works where parameters are sharded. What is logged
    as `loss` is the task loss alone; the penalty is logged beside it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        super().__init__(*args, **kwargs)
        self._penalty_of_step: Tensor | None = None
        self._penalty_sum = 0.0
        self._penalty_updates = 0.0
        self.add_callback(FiniteGradients)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the task loss, plus the penalty while training."""
        forget_penalties(model)
        self._penalty_of_step = None
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if model.training:
            penalty = total_penalty(model)
            if penalty is not None:
                self._penalty_of_step = penalty.detach() / self.current_gradient_accumulation_steps
                loss = loss + penalty / self._division_still_to_come(num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _division_still_to_come(self, num_items_in_batch: Tensor | int | None) -> int:
        """Trainer divides a loss by the accumulation steps unless the model normalised it."""
        normalised = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        return self.current_gradient_accumulation_steps if normalised else 1

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the task loss of one micro-batch, its gradients and the penalty's in place.

        Raises:
            GoftError: the loss is not finite; the weights are still those of the last update.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise diverged(f"the loss became {loss.item()}", self.state)
        if self._penalty_of_step is None:
            return loss
        self._penalty_sum += self._penalty_of_step.item()
        self._penalty_updates += 1 / self.current_gradient_accumulation_steps
        return loss - self._penalty_of_step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean penalty per update beside the task loss."""
        if "loss" in logs and self._penalty_updates:
            logs["penalty"] = self._penalty_sum / self._penalty_updates
            self._penalty_sum = self._penalty_updates = 0.0
        super().log(logs, start_time)


class FiniteGradients(TrainerCallback):
    """Stops before an update that would spoil the weights.

    Attention can hide a NaN from the loss but not from the gradients.
    """

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: object,
    ) -> None:
        """Check the accumulated gradients.

        Raises:
            GoftError: a gradient is not finite.
        """
        if model is None or args.fp16:  # fp16's loss scaler expects infinities and skips them
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not torch.isfinite(nn.utils.get_total_norm(gradients)):
            raise diverged("a gradient is not finite", state)


def diverged(what: str, state: TrainerState) -> GoftError:
    """Return the error for a training that cannot go on."""
    return GoftError(
        f"{what} at step {state.global_step + 1}; training stopped and the last checkpoint is "
        "kept: try a lower trainer.learning_rate, or trainer.bf16 in place of trainer.fp16"
    )


def forget_penalties(model: nn.Module) -> None:
    """Drop what an earlier pass left: a layer skipped in this one must not count again."""
    for module in model.modules():
        if isinstance(getattr(module, "penalty", None), Tensor):
            object.__setattr__(module, "penalty", None)


def total_penalty(model: nn.Module) -> Tensor | None:
    """Sum what the layers' last training forward left; None when nothing asks for a penalty."""
    found = (getattr(module, "penalty", None) for module in model.modules())
    penalties = [penalty for penalty in found if isinstance(penalty, Tensor)]
    return torch.stack(penalties).sum() if penalties else None


def training_arguments(
    cfg: TrainConfig, folder: RunFolder, task: Task[Any, Any]
) -> TrainingArguments:
    """Translate our configuration; the keys under `trainer` are already Trainer's own.

    Raises:
        GoftError: the values exclude one another, or this machine cannot do what they ask.
    """
    own = {entry.name: plain(getattr(cfg.trainer, entry.name)) for entry in fields(cfg.trainer)}
    if not own["gradient_checkpointing"]:
        del own["gradient_checkpointing"]  # renamed in transformers 5.23: naming it at all warns
    try:
        arguments = TrainingArguments(**own | fixed_arguments(cfg, folder, task))
    except ValueError as error:
        hint = "; add trainer.use_cpu=true on a machine without GPU" if cfg.trainer.bf16 else ""
        raise GoftError(f"trainer: {' '.join(str(error).split())}{hint}") from error
    # Several visible GPUs without a launcher would mean DataParallel, whose replicas keep their
    # layers' penalties to themselves.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def fixed_arguments(cfg: TrainConfig, folder: RunFolder, task: Task[Any, Any]) -> dict[str, Any]:
    """Return the arguments that follow from the task, the run folder and the tracker.

    A task without evaluation splits keeps checkpoints at the same moments, and its last weights.
    """
    moments, evaluated = cfg.trainer.eval_strategy.value, bool(cfg.task.eval_splits)
    return {
        "output_dir": str(folder.checkpoints),
        "seed": cfg.seed,
        "label_names": list(task.label_names),
        "eval_strategy": moments if evaluated else "no",
        "save_strategy": moments,
        "save_steps": cfg.trainer.eval_steps or 1,
        "load_best_model_at_end": evaluated,
        "metric_for_best_model": cfg.task.headline,
        "greater_is_better": cfg.task.greater_is_better,
        "report_to": [] if cfg.tracker.name is TrackerName.none else [cfg.tracker.name.value],
        "run_name": f"{cfg.task.name}/{cfg.model.name}/{cfg.adapter.name}/{cfg.run_name}",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def plain(value: object) -> Any:  # noqa: ANN401 - an enum's value or the value itself
    """Unwrap an enum."""
    return value.value if isinstance(value, Enum) else value


def build_trainer(
    model: nn.Module,
    task: Task[Any, Any],
    data: EncodedData,
    processor: Any,  # noqa: ANN401 - a tokenizer or an image processor, saved with checkpoints
    arguments: TrainingArguments,
) -> PenaltyTrainer:
    """Assemble the trainer; the first evaluation split, if any, picks the best checkpoint."""
    judge = next(iter(data.evaluation.values()), None)

    def metrics(prediction: Any) -> dict[str, float]:  # noqa: ANN401 - EvalPrediction
        return {} if judge is None else task.score(single(prediction.predictions), judge)

    trainer = PenaltyTrainer(
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=None if judge is None else judge.inputs,
        data_collator=data.collate,
        processing_class=processor,
        compute_metrics=metrics,
        preprocess_logits_for_metrics=reducer(task),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressBar(task.config.headline))
    return trainer


def prepare_tracker(cfg: TrainConfig, folder: RunFolder) -> None:
    """Tell the tracker, through its own environment variables, where this run's curves go."""
    if cfg.tracker.name is TrackerName.tensorboard:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.path / "tensorboard")
    if cfg.tracker.name is TrackerName.wandb:
        os.environ.setdefault("WANDB_PROJECT", cfg.tracker.project)
        os.environ["WANDB_DIR"] = str(folder.path)
        if cfg.tracker.mode is WandbMode.offline:  # else the user's own WANDB_MODE holds
            os.environ["WANDB_MODE"] = "offline"


def fit(trainer: Trainer, resume_from: Path | None) -> dict[str, float]:
    """Train to the end, then put the best checkpoint's weights back.

    Returns:
        Trainer's own summary: runtime, samples per second, mean task loss.
    """
    output = trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    return output.metrics

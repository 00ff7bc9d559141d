"""A trainer that can be resumed: checkpoints at signals, and totals over all starts of a run."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import SaveStrategy, TrainOutput

from goft_cli.system.errors import Stopped, handling
from goft_cli.training.checkpoints import ASIDE, STATE, checkpoint_name, prune, publish, seal
from goft_cli.training.evaluation import InOrder

logger = logging.getLogger(__name__)

UNLOGGED = ("_globalstep_last_logged", "_penalty_sum", "_penalty_updates")
"""Attributes of Trainer and of `PenaltyMixin` for the mean values of the next line of the log."""


class StopAtSignal(TrainerCallback):
    """Lets the update in progress finish, saves a checkpoint, and ends the run.

    Trainer's own handling of SIGTERM evaluates in the middle of an epoch, which may change the best
    checkpoint, and its processes need not stop at the same update.
    """

    def __init__(self) -> None:
        self.number = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one ends the process without a checkpoint."""
        # not with several processes: one would leave the others waiting
        if self.number and not torch.distributed.is_initialized():
            raise Stopped(number)
        self.number = number

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Request a checkpoint if any process has received a signal."""
        self.number = largest(self.number, args)
        if self.number and not saves_later(args, state):
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """End the run after a signal: the checkpoint is written now."""
        if self.number:
            name, step = signal.Signals(self.number).name, state.global_step
            logger.warning("%s: ended with a checkpoint after update %d", name, step)
            where = f"update {step} of {state.max_steps}, from which the same command resumes"
            raise Stopped(self.number, f"interrupted by {name}; saved at {where}")


def saves_later(args: TrainingArguments, state: TrainerState) -> bool:
    """Tell whether an evaluation follows this update, whose scores the checkpoint must contain."""
    ends = float(state.epoch).is_integer() or state.global_step >= state.max_steps
    return ends and args.save_strategy == SaveStrategy.EPOCH


def largest(number: int, args: TrainingArguments) -> int:
    """Return the largest of all processes' numbers."""
    if args.world_size == 1:
        return number
    shared = torch.tensor(number, device=args.device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return int(shared.item())


class Totals(TrainerCallback, ExportableState):
    """Training time and losses over all starts of a run; Trainer loses them on resuming."""

    def __init__(self) -> None:
        self.seconds = 0.0  # training time of the current weights
        self.loss = 0.0  # sum of the task losses of all updates so far
        self.unlogged: dict[str, float] = {}  # attributes of Trainer since the last line of the log
        self.restored: dict[str, float] = {}  # those of the checkpoint, until they are set
        self.began = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Restore the totals of the checkpoint."""
        kept: Any = state.stateful_callbacks
        vars(self).update(kept["Totals"]["attributes"])
        self.restored = dict(self.unlogged)
        self.began = time.monotonic() - self.seconds

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the totals for a checkpoint."""
        kept = {"seconds": self.seconds, "loss": self.loss, "unlogged": self.unlogged}
        return {"args": {}, "attributes": kept}


class ResumableTrainer(InOrder):
    """Writes atomic checkpoints, and totals that are restored on resuming."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        super().__init__(*args, **kwargs)
        self.totals = Totals()
        self.stop_at_signal = StopAtSignal()
        self.add_callback(self.totals)
        self.add_callback(self.stop_at_signal)
        self._writing_aside = False

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:  # noqa: ANN401 - Trainer's own
        """Train; a signal ends it with a checkpoint and raises Stopped."""
        with handling(self.stop_at_signal.note):
            return super().train(*args, **kwargs)

    @property
    def _checkpoints(self) -> Path:
        return Path(str(self.args.output_dir))

    def _get_output_dir(self, trial: Any) -> str:  # noqa: ANN401 - Trainer's own
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / ASIDE) if self._writing_aside else folder

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:  # noqa: ANN401
        """Delete an unfinished checkpoint, and find the best one."""
        if self.args.should_save:
            shutil.rmtree(self._checkpoints / ASIDE, ignore_errors=True)
        progress = super()._init_training_state(*args, **kwargs)
        self._point_to_best()
        return progress

    def _point_to_best(self) -> None:
        """Set the best checkpoint's current path: it was renamed, or the run folder was moved."""
        if self.state.best_global_step:
            best = self._checkpoints / checkpoint_name(self.state.best_global_step)
            self.state.best_model_checkpoint = str(best)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401 - Trainer's own
        """Let Trainer write to a temporary folder, then rename it and delete old checkpoints."""
        self._close_totals()
        aside = self._checkpoints / ASIDE
        self._writing_aside = True
        try:
            super()._save_checkpoint(model, trial)
            self._point_to_best()
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self._publish(aside)
        finally:
            self._writing_aside = False
            if self.args.should_save:
                shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _publish(self, aside: Path) -> None:
        name = checkpoint_name(self.state.global_step)
        self.state.save_to_json(str(aside / name / STATE))  # Trainer named the best one aside
        seal(aside / name)
        publish(aside / name, self._checkpoints / name)
        if self.args.save_total_limit:
            protected = {name, Path(self.state.best_model_checkpoint or "").name}
            prune(self._checkpoints, self.args.save_total_limit, protected)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        """Do not train after the last update; Trainer would, if it is inside an epoch.

        A run that early stopping had ended starts at its last update.
        """
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            self._restore_unlogged()
            super()._run_epoch(*args, **kwargs)

    def _restore_unlogged(self) -> None:
        """Go on with the checkpoint's sums for the next line of the log, once."""
        kept, self.totals.restored = self.totals.restored, {}
        self._tr_loss += kept.pop("_tr_loss", 0.0)
        vars(self).update(kept)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; the mean loss of the training is that of all starts."""
        if "train_loss" in logs:
            logs["train_loss"] = self.totals.loss / self.state.global_step
        super().log(logs, start_time)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Trainer's own
        self._close_totals()
        return super()._finalize_training(*args, **kwargs)

    def _close_totals(self) -> None:
        """Add the elapsed time, and average the losses over all processes."""
        self.totals.seconds = time.monotonic() - self.totals.began
        self.totals.loss = self._mean_of_processes(self.totals.loss)
        self.totals.unlogged = {name: vars(self)[name] for name in UNLOGGED if name in vars(self)}
        self.totals.unlogged["_tr_loss"] = self._mean_of_processes(
            float(cast(torch.Tensor, self._tr_loss))
        )

    def _mean_of_processes(self, value: float) -> float:
        if self.args.world_size == 1:
            return value
        own = torch.tensor(value, dtype=torch.float64, device=self.args.device)
        return cast(torch.Tensor, self.accelerator.reduce(own, "mean")).item()

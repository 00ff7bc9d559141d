"""A signal during training saves a checkpoint first, at an update that all processes agree on."""

from __future__ import annotations

import logging
import signal
from types import FrameType

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from goft_cli.system.errors import Stopped

logger = logging.getLogger(__name__)


class StopAtSignal(TrainerCallback):
    """Lets the update in progress finish, saves a checkpoint, and ends the run.

    Trainer's own answer to SIGTERM goes on into the end of the epoch: it evaluates in the middle
    of one, which may change the best checkpoint, and no two processes need agree on the update.
    """

    def __init__(self) -> None:
        self.number = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal; a second one does not wait for the checkpoint.

        Raises:
            Stopped: at the second signal; several processes wait, or one would leave the rest.
        """
        if self.number and not torch.distributed.is_initialized():
            raise Stopped(number)
        self.number = number

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Ask for a checkpoint if any process has had a signal."""
        self.number = largest(self.number, args)
        if self.number and not saves_later(args, state):
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End the run: now the checkpoint is there.

        Raises:
            Stopped: a signal came before.
        """
        if self.number:
            name, step = signal.Signals(self.number).name, state.global_step
            logger.warning("%s: ended with a checkpoint after update %d", name, step)
            where = f"update {step} of {state.max_steps}, where the same command goes on"
            raise Stopped(self.number, f"interrupted by {name}; saved at {where}")


def saves_later(args: TrainingArguments, state: TrainerState) -> bool:
    """Tell whether this update ends an epoch whose evaluation belongs into its checkpoint."""
    ends = float(state.epoch).is_integer() or state.global_step >= state.max_steps
    return ends and args.save_strategy == SaveStrategy.EPOCH


def largest(number: int, args: TrainingArguments) -> int:
    """Return the largest of all processes' numbers."""
    if args.world_size == 1:
        return number
    shared = torch.tensor(number, device=args.device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return int(shared.item())

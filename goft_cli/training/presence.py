"""A run whose folder is deleted ends at once; Trainer would make a new one and go on."""

from __future__ import annotations

from collections.abc import Callable

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopWithoutFolder(TrainerCallback):
    """Looks for the run folder after each update, before a checkpoint is written."""

    def __init__(self, check_there: Callable[[], None]) -> None:
        self.check_there = check_there

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End the run if the folder is gone."""
        self.check_there()

"""A run whose folder is deleted ends at once; Trainer would make a new one and go on."""

from __future__ import annotations

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from goft_cli.runs.run_folder import RunFolder


class StopWithoutFolder(TrainerCallback):
    """Looks for the run folder after each update, before a checkpoint is written."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End the run if the folder is gone.

        Raises:
            GoftError: somebody deleted or moved it.
        """
        self.folder.check_there()

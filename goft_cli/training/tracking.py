"""The experiment tracker around a run: told where the curves go, closed when the run ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goft_cli.config import TrackerConfig, TrackerName, WandbMode


@contextmanager
def tracking(tracker: TrackerConfig, folder: Path) -> Iterator[None]:
    """Set the tracker up through its own environment variables, and close its run in the end."""
    if tracker.name is TrackerName.tensorboard:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    if tracker.name is not TrackerName.wandb:
        yield
        return
    import wandb

    os.environ.setdefault("WANDB_PROJECT", tracker.project)
    os.environ["WANDB_DIR"] = str(folder)
    if tracker.mode is WandbMode.offline:  # else the user's own WANDB_MODE holds
        os.environ["WANDB_MODE"] = "offline"
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        # by itself it waits for the interpreter's end, which a job of a sweep does not have
        wandb.finish(exit_code=exit_code)

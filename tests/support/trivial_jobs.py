"""Jobs that a sweep runs in tests instead of a training; they import no heavy package."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from goft_cli.config import TrainConfig
from goft_cli.run.folder import open_run
from goft_cli.system.errors import GoftError, UnusableError
from goft_cli.system.files import write_json


def train(cfg: TrainConfig) -> None:
    """Write the metrics of a training: more epochs score better, and seed 13 fails.

    Raises:
        GoftError: with seed 13.
    """
    run = open_run(cfg)
    if cfg.seed == 13:
        raise GoftError("seed=13 brings bad luck")
    numbers = {
        "task": cfg.task.name,
        "model": cfg.model.name,
        "adapter": cfg.adapter.name,
        "seed": cfg.seed,
        "headline": {"name": cfg.task.headline, "value": cfg.trainer.num_train_epochs / 10},
        "trainable_parameters": 1998,
        "train_seconds": 1.5,
    }
    write_json(run.metrics, numbers)


def tell(path: str) -> None:
    """Write the job's environment variables, process id and working directory."""
    keys = ("MASTER_PORT", "CUDA_VISIBLE_DEVICES", "GREETING")
    found = {key: os.environ.get(key) for key in keys}
    write_json(Path(path), {**found, "pid": os.getpid(), "folder": str(Path.cwd())})
    print("written")


def refuse(sentence: str) -> None:
    """Raise an error that a user can correct."""
    raise GoftError(sentence)


def diverge(sentence: str) -> None:
    """Raise the error of a training that diverges."""
    raise UnusableError(sentence)


def crash(_: object) -> None:
    """Raise an unexpected error."""
    raise ZeroDivisionError("by zero")


def die(_: object) -> None:
    """End by SIGKILL, as the kernel ends a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_: object) -> None:
    """Exit without a message."""
    os._exit(3)


def wait(path: str) -> None:
    """Write the process id, then wait for an interrupt."""
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path(path).write_text("saved", encoding="utf-8")
        sys.exit(130)

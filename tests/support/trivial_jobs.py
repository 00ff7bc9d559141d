"""What a sweep runs in these tests in place of a training; imports nothing heavy."""

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
    """Write the numbers of a training: more epochs score better, and seed 13 brings bad luck.

    Raises:
        GoftError: seed 13.
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
    """Write down what a job finds around it."""
    keys = ("MASTER_PORT", "CUDA_VISIBLE_DEVICES", "GREETING")
    found = {key: os.environ.get(key) for key in keys}
    write_json(Path(path), {**found, "pid": os.getpid(), "folder": str(Path.cwd())})
    print("written")


def refuse(sentence: str) -> None:
    """Raise what a user can correct."""
    raise GoftError(sentence)


def diverge(sentence: str) -> None:
    """Raise what too high a learning rate does."""
    raise UnusableError(sentence)


def crash(_: object) -> None:
    """Raise what nobody expected."""
    raise ZeroDivisionError("by zero")


def die(_: object) -> None:
    """End as the kernel ends a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_: object) -> None:
    """End without a word."""
    os._exit(3)


def wait(path: str) -> None:
    """Say who one is, then stay until interrupted."""
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path(path).write_text("saved", encoding="utf-8")
        sys.exit(130)

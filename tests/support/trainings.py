"""A stand-in for training, for tests of its process; it imports no heavy package."""

from __future__ import annotations

import os
import signal

from goft_cli.config import TrainConfig
from goft_cli.run.folder import open_run
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json

REFUSED, CRASHED, KILLED = 13, 14, 15
"""Seeds with which a run on RTE is refused, crashes or is killed."""


def train(cfg: TrainConfig) -> None:
    """Write the files of a finished run, with the id of its process.

    Raises:
        GoftError: on RTE with the seed REFUSED.
        ZeroDivisionError: on RTE with the seed CRASHED.
    """
    unlucky = cfg.task.name == "glue/rte"
    if unlucky and cfg.seed == REFUSED:
        raise GoftError("no luck")
    if unlucky and cfg.seed == CRASHED:
        raise ZeroDivisionError("by nothing")
    if unlucky and cfg.seed == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    run = open_run(cfg)
    write_json(run.metrics, {"headline": {"name": cfg.task.headline, "value": 0.5}})
    own = {"data": {"is_the_benchmark": False}, "benchmark": None}
    write_json(run.manifest, {**own, "environment": {"pid": os.getpid()}})

"""Start several processes that communicate through gloo, as forks or with accelerate."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from accelerate.state import AcceleratorState

from tests.conftest import ROOT
from tests.support.forks import start as start_fork


def as_ranks(job: Callable[[], None], count: int = 2) -> None:
    """Run `job` in `count` forks of this process, with torchrun's environment variables."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}

    def work() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # it was set for one process
        job()

    ranks = [
        start_fork(work, RANK=str(rank), LOCAL_RANK=str(rank), **group) for rank in range(count)
    ]
    for rank in ranks:
        code, said = rank.end()
        assert code == 0, said[-3000:]


def accelerate_launch(config: Path, *words: str) -> None:
    """Run a command with `accelerate launch` and a configuration file."""
    start("accelerate.commands.launch", "--config_file", str(config), *words)


def start(*module_and_words: str) -> None:
    """Run a Python module with one thread per process, and wait for its end."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "DS_ACCELERATOR": "cpu",
    }
    command = [sys.executable, "-m", *module_and_words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

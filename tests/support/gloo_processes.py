"""Start several processes that talk through gloo, as a user's own launcher does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def torchrun(module: str, *words: str, count: int = 2) -> None:
    """Run `tests/support/<module>.py` with these words in `count` processes."""
    script = str(ROOT / "tests" / "support" / f"{module}.py")
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    start(*launcher, script, *words)


def accelerate_launch(config: Path, *words: str) -> None:
    """Run these words in as many processes as a configuration file of accelerate's says."""
    start("accelerate.commands.launch", "--config_file", str(config), *words)


def start(*module_and_words: str) -> None:
    """Run a module of Python's, one thread in each process, and wait for its end."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "DS_ACCELERATOR": "cpu",
    }
    command = [sys.executable, "-m", *module_and_words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

"""Start a module of the tests in several processes, as torchrun does."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT


def torchrun(module: str, *words: str, count: int = 2) -> None:
    """Run `tests/<module>.py` with these words in processes that talk through gloo."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(ROOT / "tests" / f"{module}.py"), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

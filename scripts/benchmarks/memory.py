"""Peak memory of training with one method, on top of the frozen model.

The number is the highest memory in use during training steps, less what was in use when the frozen
model alone was loaded and had run once: activations, gradients, adapter and optimizer state count,
the frozen weights and the libraries do not.

On a GPU the allocator keeps the count. On a CPU it is resident memory, and so each method gets a
process of its own: what a process once took shapes what it takes next. glibc is told there to give
every block from 64 KiB up its own pages and to hand them back on free, otherwise resident memory
would show its caches and not the tensors.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch

from goft_cli.errors import GoftError

STEPS = 2
FLAG = "--memory-of"
GLIBC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
MIB = 2**20

Train = Callable[[], Callable[[], object]]
"""Puts the method into the loaded model and returns its training step."""


def growth(train: Train, device: torch.device) -> int:
    """Return by how many bytes training rises above the memory in use now.

    The first step is not looked at on its own: from the second on the optimizer's state is there.
    """
    gc.collect()
    if device.type == "cuda":
        start = torch.cuda.memory_allocated(device)
        step = train()
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(1 + STEPS):
            step()
        return torch.cuda.max_memory_allocated(device) - start
    start = psutil.Process().memory_info().rss
    step = train()
    step()
    reset_high_water_mark()
    for _ in range(STEPS):
        step()
    return high_water_mark() - start


def reset_high_water_mark() -> bool:
    """Let the peak of resident memory start over; tell whether the system lets us."""
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def high_water_mark() -> int:
    """Return the peak of resident memory in bytes, since the last reset where resets work."""
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii").splitlines()
        marks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        if marks:
            return int(marks[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_fresh_process(script: Path, words: Sequence[str], method: str) -> int:
    """Run `script` again with the same words for one method and return its bytes of growth.

    Raises:
        GoftError: the process failed; its last words are in the message.
    """
    done = subprocess.run(
        [sys.executable, str(script), *words, FLAG, method],
        env={**os.environ, **GLIBC},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GoftError(
            f"memory of {method}: the process ended with {done.returncode} "
            f"({last_line(done.stderr)}); pass --no-memory to leave memory out"
        )
    return int(json.loads(done.stdout.splitlines()[-1])["growth"])


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def in_mib(repeats: Sequence[int]) -> float:
    """Return the median of some byte counts in MiB."""
    return statistics.median(repeats) / MIB

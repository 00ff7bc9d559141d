"""Measure the peak memory of this process, or of a child process for one measurement alone."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# With these settings the C library returns large blocks to the system as soon as they are freed, so
# that the resident peak counts the tensors alive at once, and no memory kept for later.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def forget_peak() -> None:
    """Reset the peak of resident memory to its present value, if Linux allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident_peak() -> int:
    """Return the peak resident bytes of this process, since `forget_peak` if that worked."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_in_child(words: Sequence[str]) -> int:
    """Run a script in a child process, and return the peak memory that it prints.

    Args:
        words: the script and its arguments, one of which makes it print its peak.

    Returns:
        Bytes: the allocator's peak on a GPU, the resident peak on a CPU.
    """
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **ALLOCATOR},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])

"""One GPU per job: the first that no other job of the sweep holds on this machine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 1.0


def gpus() -> list[str]:
    """Name the GPUs that this process may use, asking no driver: a job may still be forked."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    found = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(found, key=int)


@contextmanager
def own_gpu(names: list[str], locks: Path) -> Iterator[str | None]:
    """Hold one of several GPUs, waiting for one that is free.

    Args:
        names: the GPUs to share out; a single one or none is not shared out.
        locks: folder for one lock file per GPU. A lock goes when its holder dies, however it dies.

    Yields:
        the value for CUDA_VISIBLE_DEVICES, or None to leave it as it is.
    """
    if len(names) < 2:
        yield None
        return
    locks.mkdir(parents=True, exist_ok=True)
    while True:
        for name in names:
            with (locks / name.replace("/", "_")).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield name
                return
        time.sleep(POLL_SECONDS)

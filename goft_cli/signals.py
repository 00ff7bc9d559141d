"""Ctrl-C, SIGTERM and SIGHUP end a run in order: exit codes 130, 143 and 129."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what Slurm, Kubernetes and cloud machines send before they take a machine away, and what
a terminal sends when it is closed or its ssh connection drops."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; no `except Exception` on the way out may hide it.

    Attributes:
        code: the exit code, 128 + the signal's number as shells have it.
    """

    def __init__(self, number: int, sentence: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(sentence or f"interrupted by {name}; the same command resumes")
        self.code = 128 + number


def stop_now(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that files are closed and the user is told.

    Raises:
        Stopped: always.
    """
    raise Stopped(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let `handler` answer the signals that end a run, then whoever did before.

    Outside the main thread Python gives nobody the choice, and all stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    answered = [number for number in ENDING if number != signal.SIGHUP or not hangup_is_ignored()]
    before = {number: signal.signal(number, handler) for number in answered}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def hangup_is_ignored() -> bool:
    """Tell whether this process was started to outlive its terminal, as `nohup` does."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

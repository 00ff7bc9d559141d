"""Ways a command ends early: errors that users read, exit codes, signals."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Exit codes; a run that a signal ends has 128 + the signal's number.
CRASH = 1
"""An unexpected error."""
USAGE_ERROR = 2
"""An error that the user can correct."""
FAILED_JOBS = 3
"""The sweep has ended, and at least one of its jobs failed."""

MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Parts of messages: the first of CUDA and MPS, the others of PyTorch's CPU allocators."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT is Ctrl-C. Slurm, Kubernetes and cloud machines send SIGTERM before they shut down. A
terminal sends SIGHUP when it is closed or its ssh connection drops."""


class GoftError(Exception):
    """A mistake that the user can correct; the command line prints it and exits with `exit_code`.

    `--debug` adds the traceback. Any function that reads user input may raise it, so docstrings
    name only other exceptions.

    Attributes:
        problem: subject, what was found and what was expected.
        remedy: what to do, as a separate clause; empty if the problem says it.
    """

    exit_code = USAGE_ERROR

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)  # both, or no other process could unpickle it
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class UnusableError(GoftError):
    """The trained adapter is unusable: training diverged, or merging would round too much."""


class RankError(Exception):
    """One of a run's processes failed, with the exit code `code`."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class OutOfMemoryError(Exception):
    """Training ran out of memory: in an update if `updating`, else in an evaluation."""

    def __init__(self, *, updating: bool) -> None:
        super().__init__("out of memory")
        self.updating = updating


def is_panic(error: BaseException) -> bool:
    """Tell whether Rust code, such as a tokenizer, panicked; a panic is not an `Exception`."""
    # no module exports the class
    return type(error).__name__ == "PanicException"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out; imports no torch."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    said = str(error)
    return named or (isinstance(error, RuntimeError) and any(sign in said for sign in MEMORY_SIGNS))


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise a RuntimeError if Rust code panics, as a tokenizer does on a row it cannot encode."""
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise RuntimeError(f"a library in Rust panicked: {error}") from error


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; `except Exception` does not catch it."""

    def __init__(self, number: int, sentence: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(sentence or f"interrupted by {name}; the same command resumes")
        self.code = 128 + number  # the shells' convention


def stop_now(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped`, so that files are closed and the user sees a message."""
    raise Stopped(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that end a run with `handler` within a block."""
    # only the main thread may set handlers
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
    """Tell whether this process ignores SIGHUP, as under `nohup`."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

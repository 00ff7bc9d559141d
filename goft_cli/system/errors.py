"""How a command ends before it is done: errors that users read, exit codes, signals."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Exit codes; a run that a signal ends has 128 + the signal's number.
CRASH = 1
"""What nobody expected."""
USAGE_ERROR = 2
"""What the user can correct."""
FAILED_JOBS = 3
"""The sweep is over, and one or more of its jobs failed."""

MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""CUDA and MPS say the first, PyTorch's allocators for CPUs one of the next two."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what Slurm, Kubernetes and cloud machines send before they take a machine away, and what
a terminal sends when it is closed or its ssh connection drops."""


class GoftError(Exception):
    """A mistake that the user can correct; the command line prints it and exits with `exit_code`.

    `--debug` adds the traceback. Whatever reads what a user gave may raise it, so that docstrings
    name only other exceptions.

    Attributes:
        problem: subject, what was found and what was expected.
        remedy: what to do, in a clause of its own; empty where the problem says it.
    """

    exit_code = USAGE_ERROR

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)  # both, or no other process could unpickle it
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class UnusableError(GoftError):
    """A training gives no adapter to use: it diverged, or merging it would round too much."""


class RankError(Exception):
    """One of a run's processes failed, with the exit code `code`."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class OutOfMemoryError(Exception):
    """A training ran out of memory: in an update if `updating`, else in an evaluation."""

    def __init__(self, *, updating: bool) -> None:
        super().__init__("the memory ran out")
        self.updating = updating


def is_panic(error: BaseException) -> bool:
    """Tell whether code in Rust, such as the tokenizers', panicked; that is no `Exception`."""
    # the class can be imported from nowhere
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
    """Raise a RuntimeError where code in Rust panics, on a row that a tokenizer cannot take."""
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise RuntimeError(f"a library in Rust panicked: {error}") from error


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; no `except Exception` on the way out may hide it."""

    def __init__(self, number: int, sentence: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(sentence or f"interrupted by {name}; the same command resumes")
        self.code = 128 + number  # as shells have it


def stop_now(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped`, so that files are closed and the user is told."""
    raise Stopped(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let `handler` answer the signals that end a run within a block."""
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
    """Tell whether this process was started to outlive its terminal, as `nohup` does."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

"""Measure within a time budget; leave out and name the measurements that do not fit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from scripts.benchmarks.timing import Case, Samples, interleave

LEFT_OUT = "left out, because the time was over"
LONGEST = 200
"""Most characters of an error's line."""


class OutOfTime(BaseException):
    """The time is over. Derives from BaseException, so that no library catches it."""


@dataclass(frozen=True)
class Budget:
    """A number of seconds that starts when the budget is made."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.clock() + self.seconds)

    def left(self) -> float:
        """Return the seconds until the end, negative after it."""
        return self.end - self.clock()

    def is_over(self) -> bool:
        """Tell whether the time is over, so that nothing more should start."""
        return self.left() <= 0

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `OutOfTime` in a block when the time is over, or before the block starts.

        Works in the main thread only, which receives signals. Code in C ends when it returns.
        """
        left = self.left()
        if left <= 0:
            raise OutOfTime
        handler = signal.signal(signal.SIGALRM, raise_out_of_time)
        timer = signal.setitimer(signal.ITIMER_REAL, left)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)


def raise_out_of_time(*_: object) -> None:
    """Raise `OutOfTime`, as the handler of the alarm."""
    raise OutOfTime


def measure(
    makers: Mapping[str, Callable[[], Case]],
    rounds: int,
    budget: Budget,
    sync: Callable[[], object],
) -> tuple[dict[str, Samples], dict[str, str]]:
    """Make the cases and time them in turns, in as many rounds as the budget allows.

    Args:
        makers: functions by name that make a case and may call it; they may fail.
        rounds: most rounds.
        budget: the time for making and timing the cases.
        sync: see `interleave`.

    Returns:
        Samples by name, and one line about the error of each failed case, by name.
    """
    cases: dict[str, Case] = {}
    failed: dict[str, str] = {}
    for name, make in makers.items():
        try:
            with budget.enforced():
                cases[name] = make()
        except OutOfTime:
            failed[name] = LEFT_OUT
        except Exception as error:  # compilers, drivers and libraries raise any error
            failed[name] = error_line(error)
    return interleave(cases, rounds, sync, budget.is_over), failed


def error_line(error: Exception) -> str:
    """Return one line about an error, of at most `LONGEST` characters."""
    if isinstance(error, ModuleNotFoundError):
        return f"{str(error.name).partition('.')[0]} is not installed"
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}"[:LONGEST]

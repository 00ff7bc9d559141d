"""A time budget for measurements: those that do not fit are left out and named."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from scripts.benchmarks.timing import Case, Samples, interleave

LEFT_OUT = "left out, time was over"
LONGEST = 200
"""Characters that are shown of an error."""


class OutOfTime(BaseException):
    """No Exception, so that no library takes it for an error of its own and goes on."""


@dataclass(frozen=True)
class Budget:
    """So many seconds from now."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.clock() + self.seconds)

    def left(self) -> float:
        """Seconds until the end, negative after it."""
        return self.end - self.clock()

    def over(self) -> bool:
        """Whether nothing more should start."""
        return self.left() <= 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """End a block with `OutOfTime` when the time is over, or do not start it.

        Only the main thread may ask for it. Code in C is ended when it returns.
        """
        left = self.left()
        if left <= 0:
            raise OutOfTime
        handler = signal.signal(signal.SIGALRM, end)
        timer = signal.setitimer(signal.ITIMER_REAL, left)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)


def end(*_: object) -> None:
    """Raise `OutOfTime` at the alarm."""
    raise OutOfTime


def measure(
    makers: Mapping[str, Callable[[], Case]],
    rounds: int,
    budget: Budget,
    sync: Callable[[], object],
) -> tuple[dict[str, Samples], dict[str, str]]:
    """Time in turns what can be made in time, in as many of the rounds as there is time for.

    Args:
        makers: by name, what makes a case, calls it, and may fail.
        rounds: at most.
        budget: of time.
        sync: see `interleave`.

    Returns:
        Samples by name, and the first line of the error by name of what failed.
    """
    cases: dict[str, Case] = {}
    failed: dict[str, str] = {}
    for name, make in makers.items():
        try:
            with budget.kept():
                cases[name] = make()
        except OutOfTime:
            failed[name] = LEFT_OUT
        except Exception as error:  # any error of a compiler, a driver or a library
            failed[name] = sentence(error)
    return interleave(cases, rounds, sync, budget.over), failed


def sentence(error: Exception) -> str:
    """The first line of an error."""
    if isinstance(error, ModuleNotFoundError):
        return f"{str(error.name).partition('.')[0]} is not installed"
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}"[:LONGEST]

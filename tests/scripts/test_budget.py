"""Measurements stay within a time budget, with a simulated clock and with the real one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from scripts.benchmarks.budget import LEFT_OUT, Budget, measure
from scripts.benchmarks.timing import Case, interleave


class Clock:
    """A clock that moves only when a case or a maker adds its seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float) -> Case:
        def case() -> None:
            self.now += seconds

        return case

    def making(self, seconds: float) -> Callable[[], Case]:
        def make() -> Case:
            self.now += seconds
            return self.taking(0.25)

        return make


def test_what_does_not_fit_has_fewer_rounds_or_is_left_out() -> None:
    clock = Clock()
    makers = {name: clock.making(4) for name in "abcd"}
    samples, failed = measure(makers, 100, Budget(10, clock), lambda: None)
    assert failed == {"d": LEFT_OUT}
    assert {name: len(found.seconds) for name, found in samples.items()} == dict.fromkeys("abc", 1)


def test_rounds_end_with_the_time() -> None:
    clock = Clock()
    cases = {"a": clock.taking(1), "b": clock.taking(1)}  # two seconds to warm up, two a round
    samples = interleave(cases, 100, enough=Budget(10, clock).is_over)
    assert [len(found.seconds) for found in samples.values()] == [4, 4]


def test_a_case_that_hangs_is_ended() -> None:
    def hang() -> Case:
        try:
            time.sleep(60)
        except Exception as error:  # as a library does that catches every error
            pytest.fail(f"{error} looks like an error of the library")
        raise AssertionError("nothing ended it")

    handler, start = signal.getsignal(signal.SIGALRM), time.monotonic()
    samples, failed = measure({"hangs": hang}, 3, Budget(0.1), lambda: None)
    assert time.monotonic() - start < 30
    assert (samples, failed) == ({}, {"hangs": LEFT_OUT})
    assert signal.getsignal(signal.SIGALRM) is handler

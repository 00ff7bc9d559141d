"""Waits between attempts double, vary at random, and last as long as the server asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.tasks.vicuna.client import (
    LONGEST_WAIT_SECONDS,
    Retries,
    TransientError,
    seconds_asked,
)


@given(st.integers(0, 40), st.floats(0.001, 100), st.floats(0, 1e6, allow_nan=False, width=32))
def test_waits_double_with_jitter_and_honour_what_is_asked(
    done: int, base: float, asked: float
) -> None:
    wait = Retries(5, base).delay(done, asked)
    lowest, highest = (max(base * 2**done * spread, asked) for spread in (0.5, 1.5))
    assert min(lowest, LONGEST_WAIT_SECONDS) <= wait <= min(highest, LONGEST_WAIT_SECONDS)


def test_waits_differ_between_threads_turned_away_together() -> None:
    retries = Retries(5, 1.0)
    assert len({retries.delay(0, 0.0) for _ in range(20)}) > 1


NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)


@given(st.integers(0, 10**6))
def test_retry_after_is_seconds_or_a_date(seconds: int) -> None:
    assert seconds_asked(f" {seconds} ", NOW) == seconds
    assert seconds_asked(format_datetime(NOW + timedelta(seconds=seconds)), NOW) == seconds
    assert seconds_asked(format_datetime(NOW - timedelta(seconds=seconds)), NOW) == 0


@given(st.none() | st.text() | st.just("Thu, 29 Feb 2024 12:00:00 -0000"))
def test_any_other_retry_after_asks_for_nothing(value: str | None) -> None:
    if value is None or not value.strip().isdigit():
        assert seconds_asked(value, NOW) == 0


def test_stopping_ends_the_waiting() -> None:
    retries = Retries(5, LONGEST_WAIT_SECONDS)
    retries.stop()
    attempts = []

    def attempt() -> None:
        attempts.append(1)
        raise TransientError("not now")

    with pytest.raises(TransientError, match="not now"):
        retries.run(attempt)
    assert len(attempts) == 1

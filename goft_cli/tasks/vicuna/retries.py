"""Try again what may work in a moment, after waits that double, jitter, and obey the server."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import TypeVar

T = TypeVar("T")

LONGEST_WAIT_SECONDS = 60.0


class TransientError(Exception):
    """What may pass by itself.

    Attributes:
        wait: seconds that the server asks to wait.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Retries:
    """A number of attempts, and the waits between them; shared by the threads of one client."""

    def __init__(self, retries: int, backoff_seconds: float) -> None:
        self.retries = retries
        self.backoff_seconds = backoff_seconds
        self._stopped = Event()
        self._random = random.Random()  # the shared one has a seed, equal in every process

    def run(self, attempt: Callable[[], T]) -> T:
        """Return what the first attempt that works returns.

        Raises:
            TransientError: the last attempt's, or the latest one's once `stop` was called.
        """
        for done in range(self.retries):
            try:
                return attempt()
            except TransientError as fault:
                if self._stopped.wait(self.delay(done, fault.wait)):
                    raise
        return attempt()

    def stop(self) -> None:
        """End all waiting, from any thread."""
        self._stopped.set()

    def delay(self, done: int, asked: float) -> float:
        """Return the seconds to wait after attempt number `done`, counted from 0.

        Doubled each time and spread by half either way, so that threads turned away together do
        not come back together; not less than the server asks, never more than a minute.
        """
        backoff = self.backoff_seconds * 2**done * self._random.uniform(0.5, 1.5)
        return min(max(backoff, asked), LONGEST_WAIT_SECONDS)


def seconds_asked(retry_after: str | None, now: datetime | None = None) -> float:
    """Read the header Retry-After (RFC 9110, 10.2.3): seconds, or a date; 0 if it is neither.

    Args:
        retry_after: the header's value, None where it is absent.
        now: the present, for dates.
    """
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a time zone
        return 0.0

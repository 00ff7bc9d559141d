"""The exceptions that users are meant to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Exit codes; a run that a signal ends has 128 + the signal's number.
CRASH = 1
"""What nobody expected."""
USAGE_ERROR = 2
"""What the user can mend."""
FAILED_JOBS = 3
"""The sweep is over, and one or more of its jobs failed."""


class GoftError(Exception):
    """A mistake the user can mend: one sentence with subject, found, expected and remedy.

    The command line prints the sentence alone and exits with `exit_code`; `--debug` adds the
    traceback.
    """

    exit_code = USAGE_ERROR


class RankError(Exception):
    """One of a run's processes failed.

    Attributes:
        code: its exit code.
    """

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def is_panic(error: BaseException) -> bool:
    """Tell whether code in Rust, such as the tokenizers', broke; that is no `Exception` to Python.

    The class can be imported from nowhere.
    """
    return type(error).__name__ == "PanicException"


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Make an ordinary error of what a library in Rust raises past every `except Exception`.

    Raises:
        RuntimeError: such code panicked, on a row that a tokenizer cannot take for instance.
    """
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise RuntimeError(f"a library in Rust panicked: {error}") from error

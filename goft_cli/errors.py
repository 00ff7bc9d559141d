"""The exceptions that users are meant to read."""

from __future__ import annotations

# Exit codes; a run that a signal ends has 128 + the signal's number.
CRASH = 1
"""What nobody expected."""
USAGE_ERROR = 2
"""What the user can mend."""
FAILED_JOBS = 3
"""The sweep is over, and one or more of its jobs failed."""


class GoftError(Exception):
    """A mistake the user can mend; the command line prints it and exits with `exit_code`.

    `--debug` adds the traceback.

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

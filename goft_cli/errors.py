"""The exceptions that users are meant to read."""

from __future__ import annotations

USAGE_ERROR = 2
"""Exit code for what the user can mend."""


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

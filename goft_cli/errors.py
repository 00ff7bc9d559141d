"""The exceptions that users are meant to read."""

from __future__ import annotations

USAGE_ERROR = 2
"""Exit code for what the user can mend."""


class GoftError(Exception):
    """A mistake the user can mend: one sentence with subject, found, expected and remedy.

    The command line prints the sentence alone and exits with code 2; `--debug` adds the traceback.
    """


class RankError(Exception):
    """One of a run's processes failed.

    Attributes:
        code: its exit code.
    """

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code

"""The one exception that users are meant to read."""

from __future__ import annotations


class GoftError(Exception):
    """A mistake the user can mend: one sentence with subject, found, expected and remedy.

    The command line prints the sentence alone and exits with `exit_code`; `--debug` adds the
    traceback.
    """

    exit_code = 2

"""Every mistake as one sentence with an exit code."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from goft_cli.errors import CRASH, USAGE_ERROR, GoftError, RankError
from goft_cli.secrets import redact
from goft_cli.signals import Stopped

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and start the same command again to resume",
    errno.EDQUOT: "the disk quota is used up; free some space and start the same command again",
    errno.EACCES: "no permission; choose another folder with output_dir=DIR",
    errno.EPERM: "not permitted; choose another folder with output_dir=DIR",
    errno.EROFS: "the file system is read-only; choose another folder with output_dir=DIR",
}

# safetensors and torch.save say it in exceptions of their own
DISK_FULL_SIGNS = ("No space left on device", "PytorchStreamWriter failed writing file")


def describe(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the sentence for an error, free of secrets, and the exit code that goes with it."""
    sentence, code = _describe(error, arguments)
    return redact(sentence), code


def _describe(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    if isinstance(error, RankError | Stopped):
        return str(error), error.code
    if isinstance(error, GoftError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.filename or 'output'}: {DISK_ERRORS[error.errno]}", USAGE_ERROR
    if any(sign in str(error) for sign in DISK_FULL_SIGNS):
        return f"output: {DISK_ERRORS[errno.ENOSPC]}", USAGE_ERROR
    from goft_cli.command_line.suggest import CommandLine, explain

    sentence = explain(error, CommandLine(arguments[0], tuple(arguments[1:])))
    if sentence is not None:
        return sentence, USAGE_ERROR
    kind, said = type(error).__name__, " ".join(str(error).split())
    return f"unexpected {kind}: {said} (run again with --debug for the traceback)", CRASH

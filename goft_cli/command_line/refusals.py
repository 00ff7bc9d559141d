"""Every mistake as one sentence with an exit code."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

from goft_cli.errors import CRASH, USAGE_ERROR, GoftError, RankError
from goft_cli.secrets import redact
from goft_cli.signals import Stopped

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and start the same command again to resume",
    errno.EDQUOT: "the disk quota is used up; free some space and start the same command again",
    errno.EACCES: "no permission; choose another folder with output_dir=DIR",
    errno.EPERM: "not permitted; choose another folder with output_dir=DIR",
    errno.ENAMETOOLONG: "too long a name for a file; pass a shorter one",
    errno.EROFS: "the file system is read-only; choose another folder with output_dir=DIR",
}

LONGEST = 4000
"""Characters in a sentence."""
LONG_WORD, KEPT = re.compile(r"\S{500,}"), 80
"""Longer than the path of a file is, and how much of its beginning tells which one it was."""

# safetensors and torch.save say it in exceptions of their own
DISK_FULL_SIGNS = ("No space left on device", "PytorchStreamWriter failed writing file")


def describe(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the sentence for an error, short and free of secrets, and its exit code."""
    sentence, code = _describe(error, arguments)
    return shortened(redact(sentence)), code


def shortened(sentence: str) -> str:
    """Cut words that nobody types, and what is still too long to be read."""
    cut = LONG_WORD.sub(lambda word: f"{word[0][:KEPT]}... ({len(word[0])} characters)", sentence)
    return cut if len(cut) <= LONGEST else f"{cut[: LONGEST // 2]} ... {cut[-LONGEST // 2 :]}"


def _describe(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    if isinstance(error, RankError | Stopped):
        return str(error), error.code
    if isinstance(error, GoftError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.filename or 'output'}: {DISK_ERRORS[error.errno]}", USAGE_ERROR
    if any(sign in str(error) for sign in DISK_FULL_SIGNS):
        return f"output: {DISK_ERRORS[errno.ENOSPC]}", USAGE_ERROR
    from yaml import MarkedYAMLError

    from goft_cli.command_line.suggest import CommandLine, explain
    from goft_cli.yaml_files import line_of

    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        place = f"{error.problem_mark.name}, line {line_of(error)}"
        return f"{place}: not readable as YAML ({error.problem}); correct the line", USAGE_ERROR
    sentence = explain(error, CommandLine(arguments[0], tuple(arguments[1:])))
    if sentence is not None:
        return sentence, USAGE_ERROR
    kind, said = type(error).__name__, " ".join(str(error).split())
    return f"unexpected {kind}: {said} (run again with --debug for the traceback)", CRASH

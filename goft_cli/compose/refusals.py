"""Every mistake as one sentence with an exit code."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Sequence
from dataclasses import fields

from goft_cli.system.errors import (
    CRASH,
    USAGE_ERROR,
    GoftError,
    RankError,
    Stopped,
    is_out_of_memory,
)
from goft_cli.system.secrets import redact

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and start the same command again to resume",
    errno.EDQUOT: "the disk quota is used up; free some space and start the same command again",
    errno.EACCES: "no permission; choose another folder with output_dir=DIR",
    errno.EPERM: "not permitted; choose another folder with output_dir=DIR",
    errno.EFBIG: "a file would grow beyond the limit on files; start the same command again to "
    "resume, in a shell where ulimit -f allows more",
    errno.ELOOP: "a link there leads back to itself; choose another folder with output_dir=DIR",
    errno.ENAMETOOLONG: "a name there is too long; choose a shorter one",
    errno.EROFS: "the file system is read-only; choose another folder with output_dir=DIR",
}

LONGEST = 4000
"""Characters in a sentence."""
LONG_WORD, KEPT = re.compile(r"\S{500,}"), 80
"""A word longer than file paths, and how many of its first characters are shown."""

# safetensors raises its own exceptions for these
DISK_SIGNS = {"No space left on device": errno.ENOSPC, "File too large": errno.EFBIG}
SAVE_FAILED = "PytorchStreamWriter failed writing file"
"""The message of torch.save for every cause."""


def sentence_and_code(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the sentence for an error, short and free of secrets, and its exit code."""
    sentence, code = _sentence_and_code(error, arguments)
    return shortened(redact(sentence)), code


def shortened(sentence: str) -> str:
    """Cut overlong words, then the sentence if it is still too long."""
    cut = LONG_WORD.sub(lambda word: f"{word[0][:KEPT]}... ({len(word[0])} characters)", sentence)
    return cut if len(cut) <= LONGEST else f"{cut[: LONGEST // 2]} ... {cut[-LONGEST // 2 :]}"


def _sentence_and_code(error: Exception | Stopped, arguments: Sequence[str]) -> tuple[str, int]:
    if isinstance(error, RankError | Stopped):
        return str(error), error.code
    if isinstance(error, GoftError):
        return str(error), error.exit_code
    if number := disk_error(error):
        return f"{getattr(error, 'filename', None) or 'output'}: {DISK_ERRORS[number]}", USAGE_ERROR
    if is_out_of_memory(error):
        return str(what_to_lower(arguments[0])), USAGE_ERROR
    from yaml import MarkedYAMLError

    from goft_cli.compose.suggest import CommandLine, explain
    from goft_cli.system.files import line_of

    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        place = f"{error.problem_mark.name}, line {line_of(error)}"
        return f"{place}: not readable as YAML ({error.problem}); correct the line", USAGE_ERROR
    if refusal := explain(error, CommandLine(arguments[0], tuple(arguments[1:]))):
        return str(refusal), USAGE_ERROR
    kind, said = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, Warning):
        remedy = "run unset PYTHONWARNINGS, and leave -W error out"
        return f"a warning of a library ended the command, {kind}: {said}; {remedy}", USAGE_ERROR
    return f"unexpected {kind}: {said} (run again with --debug for the traceback)", CRASH


def what_to_lower(verb: str) -> str:
    """Return the sentence for a verb that ran out of memory outside training."""
    from goft_cli.config import SCHEMAS

    sized = verb in SCHEMAS and "batch_size" in {entry.name for entry in fields(SCHEMAS[verb])}
    smaller = "pass a smaller batch_size" if sized else "choose a smaller model"
    return f"goft {verb} ran out of memory; end other programs that hold memory, or {smaller}"


def disk_error(error: Exception | Stopped) -> int | None:
    """Return what is wrong with the disk, as one of `DISK_ERRORS`; None if it is not the disk."""
    if isinstance(error, OSError):
        return error.errno if error.errno in DISK_ERRORS else None
    if SAVE_FAILED in str(error):
        limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
        return errno.EFBIG if limited else errno.ENOSPC
    return next((number for sign, number in DISK_SIGNS.items() if sign in str(error)), None)

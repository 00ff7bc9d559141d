"""`goft VERB ...`: find the verb, let Hydra read the rest, turn every mistake into one sentence."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from goft_cli.compose.refusals import sentence_and_code
from goft_cli.compose.words import VERBS, WITHOUT_CONFIG, help_text, nearest
from goft_cli.system import __version__
from goft_cli.system.errors import GoftError, Stopped, handling, panics_as_errors, stop_now
from goft_cli.system.locations import source_revision
from goft_cli.system.secrets import redact

READER_GONE = 141
"""Exit code of a program that writes to a closed pipe, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, one of those in `help_text`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    logging.raiseExceptions = debug  # else a closed pipe gets a traceback per message
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else it logs when PEFT finds it
    try:
        with handling(stop_now), panics_as_errors():
            code = run(arguments)
        sys.stdout.flush()  # here, where a closed pipe can still be answered
        return code
    except BrokenPipeError:
        return leave_pipe()
    except (Exception, Stopped) as error:  # every error becomes a sentence here
        if debug:
            print(redact(traceback.format_exc()), end="", file=sys.stderr)
        message, code = sentence_and_code(error, arguments)
        print(f"goft: {message}", file=sys.stderr)
        return code


def run(arguments: list[str]) -> int:
    """Answer what needs no verb, or dispatch to it."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(help_text(), end="")
        return 0
    if "--version" in arguments:
        print(f"goft {__version__} ({source_revision() or 'no commit recorded'})")
        return 0
    verb, *rest = arguments
    if verb in {"-sc", "--shell-completion"}:  # from the shell, or for its script
        from goft_cli.cli.completion import complete

        return complete(arguments)
    if verb not in VERBS:
        raise unknown_verb(verb)
    return run_verb(verb, rest)


def run_verb(verb: str, words: list[str]) -> int:
    """Dispatch to `goft_cli.verbs.<verb>`, which reads `sys.argv`, mostly through Hydra."""
    from goft_cli.compose.composition import refuse_words
    from goft_cli.compose.flags import as_overrides, check_flags, own_flags
    from goft_cli.compose.suggest import CommandLine, mistyped
    from goft_cli.training.launch_checks import check_nesting, check_rank

    check_place()
    refuse_words(words)
    if verb not in WITHOUT_CONFIG:
        words = as_overrides(verb, words)
        check_flags(words, own_flags(verb))
        line = CommandLine(verb, tuple(words))
        if {"-h", "--help"} & set(words):
            from goft_cli.cli.help import help_page

            print(help_page(line, VERBS[verb]), end="")
            return 0
        if refusal := mistyped(line):
            raise refusal
    check_rank()
    check_nesting(words)
    # Spinning threads slow one another more than tenfold on a busy machine; threads that sleep at
    # once are slow on an idle one. This is a compromise, measured on two cores.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Hydra prints errors and exits unless told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *words]
    try:
        import_module(f"goft_cli.verbs.{verb}").main()
    except SystemExit as done:  # how Hydra leaves after --help
        return int(done.code or 0)
    return 0


def check_place() -> None:
    """Refuse to work in a folder that is gone, or without docstrings."""
    if sys.flags.optimize > 1:
        raise GoftError(
            "PYTHONOPTIMIZE=2, or -OO, removes the docstrings, which transformers reads",
            "run unset PYTHONOPTIMIZE, and leave -OO out",
        )
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() does the same
    except OSError:
        raise GoftError(
            "the working folder was deleted or may not be read",
            "cd to another one and start the command again",
        ) from None


def leave_pipe() -> int:
    """Replace a pipe that its reader closed (`| head`), so that Python reports no error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return READER_GONE


def unknown_verb(word: str) -> GoftError:
    """Return the error for an unknown verb, with the nearest one."""
    if "=" in word:
        return GoftError(f"{word!r} is not a verb", f"did you mean `goft train {word}`?")
    near = nearest(word, VERBS)
    hint = f"did you mean `goft {near}`? " if near else ""
    return GoftError(f"{word!r} is not a verb", f"{hint}The verbs are {', '.join(VERBS)}")


def entry_point() -> None:
    """Console script: exit with `main`'s code."""
    sys.exit(main())

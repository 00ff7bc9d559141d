"""Shell completion: Hydra completes one command's words, this adds the verb before them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from importlib import import_module

from goft_cli.cli import VERBS


def is_completion(arguments: list[str]) -> bool:
    """Tell whether the shell (not a person) asks, or a person wants the shell script."""
    return arguments[0] in {"-sc", "--shell-completion"}


def complete(arguments: list[str]) -> int:
    """Print the script for `install=SHELL`, or the candidates for `query=SHELL`."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    querying = any(word.startswith("query=") for word in arguments)
    finished = len(words) > 2 or line.endswith(" ")
    if querying and (len(words) < 2 or not finished):
        typed = words[1] if len(words) > 1 else ""
        print(" ".join(verb for verb in VERBS if verb.startswith(typed)))
        return 0
    verb = words[1] if querying else "train"
    if verb not in VERBS:
        return 0
    os.environ["COMP_LINE"] = line.replace(f" {verb}", "", 1)
    sys.argv = [sys.argv[0], *arguments]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        import_module(f"goft_cli.commands.{verb}").main()
    print(without_schemas(printed.getvalue()) if querying else printed.getvalue())
    return 0


def without_schemas(candidates: str) -> str:
    """Drop the groups that hold types rather than choices."""
    return " ".join(word for word in candidates.split() if not word.startswith("schema/"))

"""Shell completion: Hydra completes one command's words, this adds the verb before them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from importlib import import_module

from goft_cli.compose.flags import is_plain
from goft_cli.compose.keys import verb_choices
from goft_cli.compose.words import VERBS, WITHOUT_CONFIG

# Places in Hydra's store that hold no choices of the user.
OWN = {"schema", "verb", "hydra"}


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
    if verb in WITHOUT_CONFIG:
        print(" ".join(recipe_targets("" if line.endswith(" ") else words[-1])))
        return 0
    os.environ["COMP_LINE"] = with_keys_only(verb, line.replace(f" {verb}", "", 1))
    sys.argv = [sys.argv[0], *arguments]
    if not querying:
        import_module(f"goft_cli.verbs.{verb}").main()
        return 0
    printed = io.StringIO()
    # a half-typed line is no error: whatever Hydra cannot read has no candidates
    with (
        contextlib.suppress(Exception, SystemExit),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        import_module(f"goft_cli.verbs.{verb}").main()
    typed = "" if line.endswith(" ") else words[-1]
    print(" ".join(nested_choices(verb, typed) or wanted(printed.getvalue().split())))
    return 0


def with_keys_only(verb: str, line: str) -> str:
    """Drop finished words without a key, which Hydra cannot read, from the line of a verb."""
    finished, _, typed = line.rpartition(" ")
    words = finished.split()
    kept = [w for index, w in enumerate(words) if index == 0 or not is_plain(verb, words, index)]
    return " ".join([*kept, typed])


def wanted(candidates: list[str]) -> list[str]:
    """Drop candidates that users do not type (types, Hydra's settings); name groups as `task=`.

    Hydra offers a group as `task=`, `task/` or `task` if it holds files, folders or both.
    """
    starts = {word: re.split(r"[./=]", word)[0] for word in candidates if word[0] not in "+~"}
    kept = [word for word, start in starts.items() if start not in OWN]
    return [word if "=" in word or word[-1] == "." else f"{word.rstrip('/')}=" for word in kept]


def nested_choices(verb: str, typed: str) -> list[str]:
    """Return choices in subfolders by their full names, and presets: Hydra completes neither."""
    group, equals, _ = typed.partition("=")
    names = verb_choices(verb).get(group, []) if equals else []
    full = [f"{group}={name}" for name in names if "/" in name or group.startswith("+")]
    return [word for word in full if word.startswith(typed)]


def recipe_targets(typed: str) -> list[str]:
    """Return the recipes, and past a recipe's name its methods, that begin with what is typed."""
    from goft_cli.studies.recipes import cells, recipe_names

    names = [name for name in recipe_names() if name.startswith(typed)]
    return names or [one.name for one in cells() if one.name.startswith(typed)]

"""Flags and plain words as overrides: `--as-lora 16` is `as_lora=16`; Hydra's flags are checked."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from goft_cli.compose.composition import worded
from goft_cli.compose.words import did_you_mean, in_full, lettered, verbatim
from goft_cli.config import SCHEMAS
from goft_cli.system.errors import GoftError

PLAIN_WORDS = {
    **dict.fromkeys(("verify", "report"), "runs"),
    **dict.fromkeys(("eval", "rewind", "predict", "chat", "merge", "push"), "adapter"),
}
"""By verb, the key that words without a key set."""
KEY = re.compile(r"[+~]*[A-Za-z_][\w.]*(@[\w.]*)?=|[+~]|hydra[./]|=")
"""The beginning of an override, which the path of a run does not have."""
NAME_OF_RUN = re.compile(r"(?:^|,)\s*([^\s:,={}/]+)\s*:")
"""A name in the mapping of `goft predict adapters={a: RUN1, b: RUN2}`."""
PLACES_OF_RUN = {"model.path": "base_model", "task.data_dir": "data_dir"}
"""Keys of paths in `goft train`, and the keys of the same paths in verbs on its run."""


def as_overrides(verb: str, words: Sequence[str]) -> list[str]:
    """Write each flag that is named after one of the verb's own keys as `key=value`."""
    typed = [verbatim(verb, word) for word in rewritten(verb, spelled_out(verb, words))]
    keyed = with_key(verb, typed)
    return [worded(quoted(word)) for word in relocated(verb, keyed)]


def spelled_out(verb: str, words: Sequence[str]) -> list[str]:
    """Write out short keys, except the verb's own keys."""
    own = {entry.name for entry in fields(SCHEMAS[verb])}
    if not own & {"task", "data_dir"}:
        return list(words)
    data = [word for word in words if key_of(word) == "data"]
    if data and "data_dir" not in own and "task" not in map(key_of, words):
        words = with_task(verb, words, data[-1])
    return [word if key_of(word) in own else in_full(verb, word) for word in words]


def with_task(verb: str, words: Sequence[str], data: str) -> Sequence[str]:
    """Refuse data without a task and suggest the fitting one, which `goft init` takes."""
    from goft_cli.data.kinds import fitting_task

    task = fitting_task(data.partition("=")[2].strip("'\""))
    if verb == "init":
        return [f"task={task}", *words]
    raise GoftError(f"{data}: no task is named", f"did you mean task={task} {data}?")


def relocated(verb: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the overrides; in a verb on a run, set the path of model or data by the verb's key.

    If an override chooses another model or task, its path keeps its key.
    """
    own, typed = {entry.name for entry in fields(SCHEMAS[verb])}, {*map(key_of, words)}
    for word in words:
        place = PLACES_OF_RUN.get(key_of(word))
        chosen = key_of(word).partition(".")[0] in typed
        yield f"{place}={word.partition('=')[2]}" if place in own and not chosen else word


def key_of(word: str) -> str:
    """Return what an override sets."""
    return word.partition("=")[0].lstrip("+")


def with_key(verb: str, words: Sequence[str]) -> list[str]:
    """Collect a verb's words without a key under the key that they set."""
    at = [index for index in range(len(words)) if is_plain(verb, words, index)]
    if not at:
        return list(words)
    key, named = PLAIN_WORDS[verb], [words[index] for index in at]
    typed = [word for word in words if key_of(word) == key]
    takes_one = key == "adapter"
    if takes_one and len([*named, *typed]) > 1:
        found = " and ".join([*named, *typed])
        raise GoftError(f"{found}: goft {verb} takes one run", "start it once for each")
    if typed:
        raise GoftError(f"{named[0]} and {typed[0]}: pass all of them as {key}=[...]")
    values = ",".join("'" + word.replace("'", "\\'") + "'" for word in named)
    rest = [word for index, word in enumerate(words) if index not in at]
    return [f"{key}={values}" if takes_one else f"{key}=[{values}]", *rest]


def is_plain(verb: str, words: Sequence[str], index: int) -> bool:
    """Tell a path from a flag, a flag's value and an override; a path may have `=` in it too."""
    word, before = words[index], words[index - 1] if index else ""
    if verb not in PLAIN_WORDS or word.startswith("-"):
        return False
    action = flag_parser()._option_string_actions.get(before)
    if before.startswith("-") and (action is None or action.nargs != 0):
        return False  # the value of the flag before, which may be mistyped
    return KEY.match(word) is None or Path(word).is_dir()


def quoted(word: str) -> str:
    """Quote a value with `=` or letters beyond ASCII, or after `~`, which Hydra cannot read.

    A value that is quoted already, a list, a call or a mapping other than that of runs is left as
    it is.
    """
    key, _, value = word.partition("=")
    if key == "adapters" and "=" in value and not set(value) & set("'\""):
        return f"{key}={with_quotes(value)}"
    unread = "=" in value or value.startswith("~")
    plain = unread and not word.startswith("-") and not set(value) & set("'\"[]{}()")
    return f'{key}="{value}"' if plain else lettered(word)


def with_quotes(runs: str) -> str:
    """Quote the paths of a mapping of runs, `{a: RUN1, b: RUN2}`; a run's name has `,` and `=`."""
    _, *rest = NAME_OF_RUN.split(runs.strip("{} "))
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return "{" + ", ".join(f'{name}: "{path.strip()}"' for name, path in pairs) + "}"


def own_flags(verb: str) -> list[str]:
    """Return the flags that stand for the verb's own keys."""
    return [f"--{entry.name.replace('_', '-')}" for entry in fields(SCHEMAS[verb])]


def rewritten(verb: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the words, flags of our own as overrides and Hydra's as they are."""
    kinds = {entry.name: str(entry.type) for entry in fields(SCHEMAS[verb])}
    rest = iter(words)
    for word in rest:
        flag, given, value = word.partition("=")
        key = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or key not in kinds:
            yield word
        elif given or kinds[key] == "bool":
            yield f"{key}={value or 'true'}"
        else:
            yield f"{key}={word_after(flag, rest)}"


def word_after(flag: str, rest: Iterator[str]) -> str:
    """Return the next word, which is a flag's value."""
    value = next(rest, None)
    if value is None or value.startswith("--"):
        raise GoftError(f"{flag} has no value", f"write {flag} VALUE")
    return value


class Word(str):
    """A string that is unlike equal ones: the override `job` is not the `job` of `--cfg job`."""


class FlagParser(argparse.ArgumentParser):
    """Hydra's flags, refused in one sentence instead of a usage page."""

    def error(self, message: str) -> NoReturn:
        """Refuse a flag, or the word after it."""
        raise GoftError(message, f"see {self.prog} --help")


def check_flags(words: Sequence[str], own: Sequence[str]) -> None:
    """Refuse flags that Hydra would answer with its usage page or a traceback.

    Suggestions for a mistyped flag include `own`.
    """
    options = flag_parser()._option_string_actions
    known = [flag for flag in options if flag.startswith("--")]
    for word in words:
        flag = word.partition("=")[0]
        # argparse also takes unambiguous beginnings, such as --multi
        if flag.startswith("--") and not any(name.startswith(flag) for name in known):
            raise GoftError(f"{flag} is not a flag", did_you_mean(flag, [*known, *own]))
    flags = read_flags(words)
    if flags.resolve and not (flags.cfg or flags.help):
        raise GoftError("--resolve has no --cfg", "add --cfg job")
    if flags.config_dir is not None and not Path(flags.config_dir).is_dir():
        raise GoftError(f"--config-dir {flags.config_dir}: no such folder")
    modes = {"--run", "--multirun", "--cfg", "--info", "--shell-completion"}
    given = [mode for mode in sorted(modes) if getattr(flags, mode[2:].replace("-", "_"))]
    if len(given) > 1:
        raise GoftError(f"{' and '.join(given)} exclude each other", "pass one of them")


def overrides_first(words: Sequence[str]) -> list[str]:
    """Put the flags last: Hydra takes overrides before them or after them, but not both."""
    each = [Word(word) for word in words]
    overrides = read_flags(each).overrides
    flags = [word for word in each if not any(word is override for override in overrides)]
    return list(map(str, [*overrides, *flags]))


def read_flags(words: Sequence[str]) -> argparse.Namespace:
    """Read Hydra's flags, and all other words as `overrides`, in any order."""
    return flag_parser().parse_intermixed_args(words)


def tolerate_lazy_help(formatter: type[argparse.HelpFormatter]) -> None:
    """Let argparse take a help text that is no string.

    Hydra 1.3 has one, and argparse reads help texts as they are added from Python 3.14 on.
    """
    get = formatter._get_help_string

    def as_text(self: argparse.HelpFormatter, action: argparse.Action) -> str | None:
        text = get(self, action)
        return text if text is None or isinstance(text, str) else ""

    formatter._get_help_string = as_text


if sys.version_info >= (3, 14):
    tolerate_lazy_help(argparse.HelpFormatter)


@cache
def flag_parser() -> FlagParser:
    """Return a parser of the words after the verb that reads flags and overrides as Hydra does."""
    return FlagParser("goft VERB", parents=[get_args_parser()], add_help=False)

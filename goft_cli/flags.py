"""Keys written as flags: `--as-lora 16` and `--offline` for `as_lora=16` and `offline=true`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from goft_cli.config import SCHEMAS
from goft_cli.errors import GoftError


def as_overrides(verb: str, words: Sequence[str]) -> list[str]:
    """Write each flag that is named after one of the verb's own keys as `key=value`.

    Raises:
        GoftError: a key that is no switch has no value.
    """
    return list(rewritten(verb, words))


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
            yield f"{key}={following(flag, rest)}"


def following(flag: str, rest: Iterator[str]) -> str:
    """Return the word after a flag.

    Raises:
        GoftError: there is none.
    """
    value = next(rest, None)
    if value is None or value.startswith("--"):
        raise GoftError(f"{flag} has no value; write {flag} VALUE")
    return value

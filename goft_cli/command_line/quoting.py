"""Quotes around values that Hydra's grammar cannot read: texts, and letters beyond ASCII."""

from __future__ import annotations

import re

FREE_TEXTS = {"predict": "text"}
"""By verb, the key whose value is what a person wrote, read as it stands."""
IN_QUOTES = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1""", re.DOTALL)
INTERPOLATION = re.compile(r"(\\*)\$\{")
ITEM, ITEM_OF_MAPPING = re.compile(r"[^,\[\]()]+"), re.compile(r"[^,\[\]{}():]+")


def in_quotes(text: str) -> str:
    """Quote a text so that Hydra reads it back as it is.

    A backslash counts as one only before a quotation mark and at the end.
    """
    return "'" + re.sub(r"(\\*)(?:(')|$)", _escaped, text) + "'"


def _escaped(found: re.Match[str]) -> str:
    return found[1] * 2 + ("\\'" if found[2] else "")


def verbatim(verb: str, word: str) -> str:
    """Quote a free text, with `${` as two characters; in quotes already, it keeps those."""
    key, _, value = word.partition("=")
    if key.lstrip("+") != FREE_TEXTS.get(verb) or value in {"", "null"}:
        return word
    literal = INTERPOLATION.sub(lambda found: found[1] * 2 + "\\${", value)
    return f"{key}={literal if IN_QUOTES.fullmatch(value) else in_quotes(literal)}"


def lettered(word: str) -> str:
    """Quote a value, or the items of a list or mapping, that have letters beyond ASCII.

    A value with quotes or with something to be computed is left as it is.
    """
    key, equals, value = word.partition("=")
    if value.isascii() or word.startswith("-") or set(value) & set("'\"$"):
        return word
    item = ITEM_OF_MAPPING if "{" in value else ITEM
    return key + equals + item.sub(_lettered_item, value)


def _lettered_item(found: re.Match[str]) -> str:
    text = found[0].strip()
    return found[0] if text.isascii() else found[0].replace(text, in_quotes(text))

"""Values in the cells of a table: lists that a text spells, sets of labels, words."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from contextlib import suppress
from typing import Any

from goft_cli.config.labels import identity

LIKE_LIST = re.compile(r"""\[(\s*['"].*|[^][]*[,\d][^][]*\S)\]""", re.DOTALL)
"""A text that looks like a list, unlike `[CLS] a [SEP]`, `[NSFW]` and the words `[ a , b ]`."""
AS_JSON = 'write the list as JSON, such as ["a", "b"]'


def read_literal(text: str) -> Any:  # noqa: ANN401 - any value of JSON or Python
    """Return the value of a JSON text, or the list or dictionary of a text that Python printed.

    Raises:
        ValueError: it spells none.
    """
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        found = literal_eval(text.strip())
        same = "".join(repr(found).split()) == "".join(text.split())
        if same and isinstance(found, list | dict):  # Python joins the 'a' 'b' of numpy
            return found
    raise ValueError("neither JSON nor a Python list or dictionary")


def read_list(value: object) -> object:
    """Return the list that a text spells; other values unchanged.

    None means that a text looks like a list but spells none, such as numpy's `['a' 'b']`.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not (text.startswith("[") and text.endswith("]")):
        return value
    with suppress(ValueError):
        return read_literal(text)
    return None if LIKE_LIST.fullmatch(text) else value


def label_set(value: object) -> list[Any] | None:
    """Return the labels of a cell: of a list, of a text with `;` between them, or a number alone.

    None means that the cell is missing (None or NaN) or no list. An empty list or text means no
    label.
    """
    value = read_list(value)
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [part for part in value.split(";") if part.strip()]
    return None if identity(value) is None else [value]


def words_in(value: object) -> list[Any] | None:
    """Return the words or tags of a cell: a list, or a text with blanks between them."""
    value = read_list(value)
    if isinstance(value, str):
        return value.split()
    return value if isinstance(value, list) else None

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


def rows_of(value: object) -> list[Any] | None:
    """Return the rows of an object that `DataFrame.to_json` wrote; None if it is another object.

    Known are the orientations `columns` (the default), `index`, `split` and `table`.
    """
    if not isinstance(value, dict) or not value:
        return None
    names, rows = value.get("columns"), value.get("data")
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    if isinstance(names, list) and isinstance(rows, list):
        whole = all(isinstance(row, list) and len(row) == len(names) for row in rows)
        return [dict(zip(names, row, strict=True)) for row in rows] if whole else None
    parts = list(value.values())
    if not all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return None
    if parts[0] and all(key.isdigit() for key in parts[0]):
        return [{name: part[key] for name, part in value.items()} for key in parts[0]]
    return parts if all(key.isdigit() for key in value) else None


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

    None means that the cell is missing (None or NaN), no list, or a 0 or 1 for each label. An empty
    list or text means no label.
    """
    value = read_list(value)
    if isinstance(value, str):
        value = [part for part in value.split(";") if part.strip()]
    if not isinstance(value, list):
        return None if identity(value) is None else [value]
    numbers = [identity(one) for one in value if not isinstance(one, str)]
    is_vector = len(value) == len(numbers) > len({*numbers}) and {*numbers} <= {0, 1}
    return None if is_vector else value


def words_in(value: object) -> list[Any] | None:
    """Return the words or tags of a cell: a list, or a text with blanks between them."""
    value = read_list(value)
    if isinstance(value, str):
        return value.split()
    return value if isinstance(value, list) else None

"""What each key means: the string that stands below it in the source of its dataclass."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


@cache
def meanings(kind: type) -> dict[str, str]:
    """Return the docstring of each field of a dataclass and of its bases; none for a mapping."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("goft_cli"):
            found |= own_meanings(base)
    return found


def own_meanings(kind: type) -> dict[str, str]:
    """Return the string that stands below each field in the source; Python itself drops it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }

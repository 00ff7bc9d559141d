"""The nearest right word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 12


def did_you_mean(word: str, choices: Iterable[str], *, prefix: str = "") -> str:
    """Return the nearest choice as a question, or else the list of choices."""
    options = sorted(set(choices))
    ends = [option for option in options if option.rpartition("/")[2] == word]
    inside = [option for option in options if option.startswith(f"{word}/")]
    near = ends or difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if inside:
        near, options = [], inside
    elif not near:
        tails = {option.rpartition("/")[2]: option for option in options}
        near = [tails[tail] for tail in difflib.get_close_matches(word, tails, n=1, cutoff=0.6)]
    if near:
        return f"did you mean {prefix}{near[0]}?"
    shown = ", ".join(options[:MAX_LISTED]) + (", ..." if len(options) > MAX_LISTED else "")
    return f"expected one of {shown}"

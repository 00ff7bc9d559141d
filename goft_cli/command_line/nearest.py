"""The nearest right word, or all of them where none is near."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence

MAX_LISTED = 12
LIKE = 0.75
"""Share of equal letters from which one word is taken for a misspelling of another."""


def nearest(word: str, options: Collection[str]) -> str | None:
    """Return the option that a word most likely stands for, or None if none is near.

    A word stands for an option that it misspells (`lerning_rate`), of which it is the initials
    (`lr`) or some words (`epochs` for `num_train_epochs`), whose words it has beside others
    (`max_seq_length` for `max_length`), or whose beginning it is, or the other way round.
    """
    alike = difflib.get_close_matches(word, options, n=1, cutoff=LIKE)
    parts = set(words_of(word))
    initials = [name for name in options if "".join(part[0] for part in words_of(name)) == word]
    longer = [name for name in options if parts and parts <= set(words_of(name))]
    shorter = [name for name in options if len(words_of(name)) > 1 and set(words_of(name)) <= parts]
    by_words = sorted([*longer, *shorter], key=lambda name: len(words_of(name)))
    begun = [name for name in options if word.startswith(name) or name.startswith(word)]
    found = [*alike, *initials, *by_words, *begun]
    return found[0] if found and len(word) > 1 else None


def words_of(name: str) -> list[str]:
    """Return the words that a name is made of."""
    return re.findall(r"[a-z0-9]+", name.lower())


def did_you_mean(word: str, choices: Iterable[str], *, prefix: str = "") -> str:
    """Return the nearest choice as a question, or else the list of choices.

    A choice is also known by its last part (`cola` for `glue/cola`), and the choices of a folder by
    the folder's name.
    """
    options = sorted(set(choices))
    inside = [option for option in options if option.startswith(f"{word}/")]
    if inside:
        return listed(inside)
    tails = {option.rpartition("/")[2]: option for option in options}
    near = tails.get(word) or nearest(word, options) or tails.get(nearest(word, tails) or "")
    return f"did you mean {prefix}{near}?" if near else listed(options)


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """Return the nearest key as a question, or else the keys of its section.

    A key of the same section comes first, then one of the same name in another section, then any.
    """
    section, _, leaf = key.rpartition(".")
    siblings, everywhere = by_last_name(keys, section), by_last_name(keys)
    near = (
        siblings.get(nearest(leaf, siblings) or "")
        or everywhere.get(leaf)
        or everywhere.get(nearest(leaf, everywhere) or "")
    )
    if near:
        return f"did you mean {near}?"
    names = sorted(name for name in siblings if not name.startswith("+"))
    of_section = f"keys of {section} are" if section else "the first part of a key is one of"
    return f"{of_section} {', '.join(names)}" if names else "see --help for the keys"


def by_last_name(keys: Sequence[str], section: str | None = None) -> dict[str, str]:
    """Return keys, of one section or of all, by their last names; of equal ones the shortest."""
    split = {key: key.rpartition(".") for key in sorted(keys, key=len, reverse=True)}
    return {last: key for key, (place, _, last) in split.items() if section in {None, place}}


def listed(options: Sequence[str]) -> str:
    """Return the first options of a list."""
    more = ", ..." if len(options) > MAX_LISTED else ""
    return f"expected one of {', '.join(options[:MAX_LISTED])}{more}"

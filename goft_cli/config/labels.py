"""Labels and their spellings: one rule for every file format and every reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Real
from unicodedata import normalize

from goft_cli.system.errors import GoftError

# No exponents and no underscores: such texts are names more often than numbers.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
TRUTH = {"false": Decimal(0), "true": Decimal(1)}
ANSWERS = {"no": 0, "off": 0, "n": 0, "yes": 1, "on": 1, "y": 1}
"""Words that mean 0 or 1."""
SEPARATORS = re.compile(r"[-_\s]+")

Identity = Decimal | str


def identity(value: object) -> Identity | None:
    """Return a label in its canonical form: a number, or a name without surrounding blanks, in NFC.

    1, 1.0, True and the texts `1`, `1.0`, `true` are the same number. Returns None for a value
    that is not a label: an empty text, None, NaN, infinity, a list.
    """
    if isinstance(value, str):
        text = normalize("NFC", value.strip())
        if NUMBER.fullmatch(text):
            return Decimal(text)
        return TRUTH.get(text.lower(), text or None)
    if isinstance(value, Integral):
        return Decimal(int(value))
    if isinstance(value, Real):
        value = Decimal(repr(float(value)))
    return value if isinstance(value, Decimal) and value.is_finite() else None


def level(name: str) -> str:
    """Return a name in lower case and NFC, with one `_` for hyphens, underscores and blanks."""
    return SEPARATORS.sub("_", normalize("NFC", name.strip().casefold()))


def alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only in case, hyphens, underscores or blanks."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(level(name), []).append(name)
    return [group for word, group in groups.items() if len(group) > 1 and word.strip("_")]


class Labels:
    """The labels of a task; finds the label of a value in the data.

    Attributes:
        names: the labels in the order of their ids.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._ids: dict[Identity, int] = {}
        for index, name in enumerate(self.names):
            what = identity(name)
            if what is None:
                raise GoftError(
                    f"task.labels: label {index} is {name!r}, expected a name",
                    "give each label a name",
                )
            if what in self._ids:
                raise GoftError(
                    f"task.labels: {self.names[self._ids[what]]!r} and {name!r} are spellings of "
                    "one label in the data",
                    "keep one of them, or rename the two",
                )
            self._ids[what] = index
        levelled = [level(name) for name in self.names]
        self._levelled = {
            word: index
            for index, word in enumerate(levelled)
            if levelled.count(word) == 1 and word.strip("_")
        }
        self._numbers_are_ids = not any(isinstance(what, Decimal) for what in self._ids)
        if len(levelled) == 2:  # with yes, no in this order, 1 could be either
            self._numbers_are_ids &= all(
                ANSWERS.get(word, index) == index for index, word in enumerate(levelled)
            )

    def id_of(self, value: object) -> int | None:
        """Return the id of the label that a value means; None if no label fits.

        Tried in this order: a label's exact name; a name that differs only in case, hyphens,
        underscores or blanks, if it fits one label only; an id, if no label is a number.
        """
        what = identity(value)
        if what is None:
            return None
        if what in self._ids:
            return self._ids[what]
        if isinstance(what, str):
            return self._levelled.get(level(what))
        is_id = what == int(what) and 0 <= what < len(self.names)
        return int(what) if self._numbers_are_ids and is_id else None

    def ids_of(self, names: Sequence[str], origin: str) -> list[int]:
        """Return the ids of a data set's own label names, in the order of its numbers."""
        found = [self.id_of(name) for name in names]
        ids = [index for index in found if index is not None]
        if sorted(ids) != list(range(len(self.names))) or len(ids) != len(names):
            raise GoftError(
                f"{origin}: the data names its labels {', '.join(names)}, and the task names "
                f"{', '.join(self.names)}",
                "pass task.labels=[...] with each label of the data once, in any order",
            )
        return ids

    def spelled_as(self, values: Iterable[object]) -> Labels:
        """Return these labels in the data's spelling, if the data has one spelling per label."""
        found: dict[int, set[str]] = {}
        for value in {value for value in values if isinstance(value, str)}:
            index = self.id_of(value)
            if index is not None and level(value) == level(self.names[index]):
                found.setdefault(index, set()).add(value.strip())
        spelled = [
            spellings.pop() if len(spellings := found.get(index, {name})) == 1 else name
            for index, name in enumerate(self.names)
        ]
        return Labels(spelled)

    @property
    def expected(self) -> str:
        """The values that are allowed, as an error message says it."""
        ids = f"a label id from 0 to {len(self.names) - 1} or " if self._numbers_are_ids else ""
        return f"{ids}one of {', '.join(self.names)}"

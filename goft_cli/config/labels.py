"""What a label is, however it is spelled: the one rule for every file format and every reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Real

from goft_cli.system.errors import GoftError

# No exponents and no underscores: such texts are names more often than numbers.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
TRUTH = {"false": Decimal(0), "true": Decimal(1)}
ANSWERS = {"no": 0, "off": 0, "n": 0, "yes": 1, "on": 1, "y": 1}
"""Words that everybody reads as 0 or 1."""
SEPARATORS = re.compile(r"[-_\s]+")

Identity = Decimal | str


def identity(value: object) -> Identity | None:
    """Return what a label is: a number, or a name without the blanks around it.

    1, 1.0, True and the texts `1`, `1.0`, `true` are the same number. None stands for what is no
    label: an empty text, None, NaN, infinity, a list.
    """
    if isinstance(value, str):
        text = value.strip()
        if NUMBER.fullmatch(text):
            return Decimal(text)
        return TRUTH.get(text.lower(), text or None)
    if isinstance(value, Integral):
        return Decimal(int(value))
    if isinstance(value, Real):
        value = Decimal(repr(float(value)))
    return value if isinstance(value, Decimal) and value.is_finite() else None


def level(name: str) -> str:
    """Level case, and the hyphens, underscores and blanks between words."""
    return SEPARATORS.sub("_", name.strip().casefold())


class Labels:
    """The labels of a task, and which of them a value in the data means.

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
                    "give each label one",
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
        """Return the id of the label that a value means, None if it means none of them.

        A label's own name comes first; then a name that differs in case, hyphens, underscores or
        blanks only, if one label alone fits; then a plain id, if no label is spelled as a number.
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
        """Return the ids of the names that a data set has for its own numbers."""
        found = [self.id_of(name) for name in names]
        ids = [index for index in found if index is not None]
        if sorted(ids) != list(range(len(self.names))) or len(ids) != len(names):
            raise GoftError(
                f"{origin}: the data names its labels {', '.join(names)}, and the task names "
                f"{', '.join(self.names)}",
                "name each of the data's once, in any order, with task.labels=[...]",
            )
        return ids

    def spelled_as(self, values: Iterable[object]) -> Labels:
        """Return these labels as the data spells them, where it always spells a name one way."""
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
        """What a value has to be, for a sentence that refuses another."""
        ids = f"a label id from 0 to {len(self.names) - 1} or " if self._numbers_are_ids else ""
        return f"{ids}one of {', '.join(self.names)}"

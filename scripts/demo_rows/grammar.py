"""Phrases of an English-like grammar, with the edits that make them ungrammatical.

A phrase is a sequence of words with its possible `Fault`s. A fault is one edit (replace, insert,
delete or swap) that makes the sentence ungrammatical under every reading of the lexicon. Larger
phrases are concatenated from smaller ones, and the code that chooses a feature of a phrase, such as
its number, also states the faults that break this feature.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")

ORDER = "word order"
AGREEMENT = "agreement"
DETERMINER = "determiner"
AUXILIARY = "auxiliary"
FORM = "verb form"
ARGUMENT = "argument structure"
REFLEXIVE = "reflexive"
CASE = "case"
PHENOMENA = (ORDER, AGREEMENT, DETERMINER, AUXILIARY, FORM, ARGUMENT, REFLEXIVE, CASE)


@dataclass(frozen=True)
class Fault:
    """Replace words[start:stop] by `words`; start == stop inserts, no words deletes."""

    phenomenon: str
    start: int
    stop: int
    words: tuple[str, ...] = ()

    def shifted(self, offset: int) -> Fault:
        """Return the same edit for a phrase that begins `offset` words later."""
        return replace(self, start=self.start + offset, stop=self.stop + offset)


@dataclass(frozen=True)
class Phrase:
    """Words in order, with the single edits that would make them ungrammatical."""

    words: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __add__(self, other: Phrase) -> Phrase:
        """Concatenate, keeping every fault at its words."""
        moved = tuple(fault.shifted(len(self.words)) for fault in other.faults)
        return Phrase(self.words + other.words, self.faults + moved)

    def with_fault(self, phenomenon: str, start: int, stop: int, *words: str) -> Phrase:
        """Add one possible edit."""
        return replace(self, faults=(*self.faults, Fault(phenomenon, start, stop, words)))

    def swappable(self, at: int) -> Phrase:
        """Add the fault that exchanges the words at `at` and `at + 1`."""
        first, second = self.words[at : at + 2]
        return self.with_fault(ORDER, at, at + 2, second, first)

    def faulted(self, fault: Fault) -> tuple[str, ...]:
        """Return the words after that edit."""
        return self.words[: fault.start] + fault.words + self.words[fault.stop :]


def word(text: str, **wrong: Sequence[str]) -> Phrase:
    """Make a phrase of one word; `wrong` maps a phenomenon to wrong words in its place.

    Keywords use `_` for the space in a phenomenon's name; an empty replacement deletes the word.
    """
    faults = tuple(
        Fault(name.replace("_", " "), 0, 1, tuple(other.split()))
        for name, others in wrong.items()
        for other in others
    )
    return Phrase((text,), faults)


def text(*words: str) -> Phrase:
    """Make a phrase without faults."""
    return Phrase(words)


def spell(words: Sequence[str]) -> str:
    """Write words as a sentence: a/an by the next letter, punctuation attached, first capital."""
    spelled = [
        "an" if this == "a" and following[:1] in "aeiou" and following else this
        for this, following in zip(words, [*words[1:], ""], strict=True)
    ]
    line = " ".join(spelled)
    for mark in (",", ".", "?"):
        line = line.replace(f" {mark}", mark)
    return line[:1].upper() + line[1:]


class Chance:
    """Random choices that are the same on every Python: they use `Random.random` alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def happens(self, probability: float) -> bool:
        """Return True with that probability."""
        return self._random.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[int(self._random.random() * len(options))]

    def weighted(self, options: dict[T, float]) -> T:
        """Return one key, with a probability in proportion to its value."""
        mark = self._random.random() * sum(options.values())
        for option, weight in options.items():
            mark -= weight
            if mark < 0:
                return option
        return next(reversed(options))

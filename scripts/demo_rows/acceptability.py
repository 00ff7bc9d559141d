"""Generate the data of `demo/acceptability`: grammatical and corrupted sentences, as in CoLA.

A checksum of its text assigns each sentence to exactly one share of the data. The training,
validation and test splits and the pretraining corpus therefore have no sentence in common, although
no sentence is stored. A corrupted sentence must belong to the share of its source.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from goft_cli.system.errors import GoftError
from scripts.demo_rows.grammar import Chance, Phrase, spell
from scripts.demo_rows.sentences import Sentences
from scripts.demo_rows.splits import check_split

Split = Literal["train", "validation", "test"]
Share = Literal["train", "validation", "test", "corpus"]

SIZES: dict[Split, int] = {"train": 3000, "validation": 500, "test": 500}
ACCEPTABLE = 1
UNACCEPTABLE = 0
MAX_WORDS = 20
# Twentieths of all sentences, as the checksum assigns them.
_SLOTS: dict[Share, int] = {"validation": 2, "test": 2, "train": 4, "corpus": 12}
_SHARES: list[Share] = [share for share, slots in _SLOTS.items() for _ in range(slots)]


@dataclass(frozen=True)
class Example:
    """One labelled sentence; `phenomenon` and `source` say how an unacceptable one was made."""

    sentence: str
    label: int
    phenomenon: str | None = None
    source: str | None = None


def share_of(sentence: str) -> Share:
    """Return the only part of the data in which this sentence may occur."""
    return _SHARES[zlib.crc32(sentence.encode()) % len(_SHARES)]


def examples(split: Split, size: int | None = None, seed: int = 0) -> list[Example]:
    """Draw distinct sentences, every second one corrupted by a single edit.

    Args:
        split: which share of all sentences to draw from.
        size: number of sentences; `SIZES[split]` by default.
        seed: another seed draws another sample from the same share.

    Raises:
        GoftError: the split is unknown or the size negative.
    """
    check_split("demo/acceptability", split, SIZES)
    wanted = SIZES[split] if size is None else size
    if wanted < 0:
        raise GoftError(f"demo/acceptability: size={wanted}, expected zero or more sentences")
    chance = Chance(zlib.crc32(f"acceptability/{split}/{seed}".encode()))
    found: dict[str, Example] = {}
    for phrase in _phrases(chance, split):
        if len(found) >= wanted:
            break
        example = _correct(phrase) if len(found) % 2 == 0 else _corrupt(phrase, chance, split)
        if example is not None:
            found.setdefault(example.sentence, example)
    drawn = list(found.values())
    return [drawn.pop(chance.pick(range(len(drawn)))) for _ in range(len(drawn))]


def generate(split: Split, size: int | None = None, seed: int = 0) -> list[dict[str, str | int]]:
    """Draw the rows of a split: `sentence`, and `label` 1 for acceptable, 0 for unacceptable.

    The labels are balanced (for an odd size there is one more acceptable sentence). Arguments and
    errors are those of `examples`.
    """
    return [{"sentence": e.sentence, "label": e.label} for e in examples(split, size, seed)]


def corpus(size: int, seed: int = 0) -> Iterator[str]:
    """Yield texts of one to three grammatical sentences, none of which occurs in any split."""
    chance = Chance(zlib.crc32(f"corpus/{seed}".encode()))
    phrases = _phrases(chance, "corpus")
    for _ in range(size):
        count = chance.weighted({1: 6, 2: 2, 3: 1})
        yield " ".join(spell(next(phrases).words) for _ in range(count))


def _phrases(chance: Chance, share: Share) -> Iterator[Phrase]:
    """Yield grammatical sentences of one share, endlessly."""
    sentences = Sentences(chance)
    while True:
        phrase = sentences.sentence()
        if len(phrase.words) <= MAX_WORDS and share_of(spell(phrase.words)) == share:
            yield phrase


def _correct(phrase: Phrase) -> Example:
    return Example(spell(phrase.words), ACCEPTABLE)


def _corrupt(phrase: Phrase, chance: Chance, split: Split) -> Example | None:
    """Return the sentence with one fault; None if no faulty version belongs to the split."""
    faults = list(phrase.faults)
    source = spell(phrase.words)
    while faults:
        phenomenon = chance.pick(tuple(dict.fromkeys(fault.phenomenon for fault in faults)))
        candidates = [fault for fault in faults if fault.phenomenon == phenomenon]
        fault = chance.pick(candidates)
        sentence = spell(phrase.faulted(fault))
        if share_of(sentence) == split:
            return Example(sentence, UNACCEPTABLE, phenomenon, source)
        faults.remove(fault)
    return None

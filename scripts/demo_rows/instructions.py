"""Generate the data of `demo/instructions`: questions about facts, with three forms of answer.

The tiny decoder was pretrained on these facts, but not in this form; it has to learn which answer
each instruction asks for: a word, a sentence or a letter. A checksum assigns each question to one
split.
"""

from __future__ import annotations

import zlib
from typing import Literal

from scripts.demo_rows.facts import Fact, as_choices, draw
from scripts.demo_rows.grammar import Chance
from scripts.demo_rows.splits import check_split

Split = Literal["train", "validation", "test"]
Row = dict[str, str]

SIZES: dict[Split, int] = {"train": 3000, "validation": 300, "test": 300}
FORMS: dict[str, float] = {"word": 3, "sentence": 4, "letter": 3}
# Tenths of all questions, as the checksum assigns them.
_SLOTS: dict[Split, int] = {"validation": 1, "test": 1, "train": 8}
_SHARES: list[Split] = [share for share, slots in _SLOTS.items() for _ in range(slots)]


def generate(split: Split, size: int | None = None, seed: int = 0) -> list[Row]:
    """Draw distinct rows of `instruction`, `input` and `output`.

    Args:
        split: which share of all questions to draw from.
        size: number of rows; `SIZES[split]` by default.
        seed: another seed draws another sample from the same share.

    Raises:
        GoftError: the split is unknown.
    """
    check_split("demo/instructions", split, SIZES)
    wanted = SIZES[split] if size is None else size
    chance = Chance(zlib.crc32(f"instructions/{split}/{seed}".encode()))
    found: dict[tuple[str, str], Row] = {}
    while len(found) < wanted:
        row = ask(draw(chance), chance)
        question = row["instruction"], row["input"]
        if share_of(*question) == split:
            found.setdefault(question, row)
    return list(found.values())


def share_of(instruction: str, extra: str) -> Split:
    """Return the only split in which this question may occur."""
    return _SHARES[zlib.crc32(f"{instruction}\n{extra}".encode()) % len(_SHARES)]


def ask(fact: Fact, chance: Chance) -> Row:
    """Ask for a fact in one of the three ways."""
    form = chance.weighted(FORMS)
    if form == "word":
        return _row(fact.question, fact.context, fact.answer)
    if form == "sentence":
        return _row(f"Say it in a sentence. {fact.question}", fact.context, fact.statement)
    question, _, letter = as_choices(fact, chance).rpartition("\nAnswer: ")
    return _row("Choose the right letter.", question, letter)


def _row(instruction: str, extra: str, output: str) -> Row:
    return {"instruction": instruction, "input": extra, "output": output}

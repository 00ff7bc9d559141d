"""Generate the data of `demo/choices`: facts in the form of MMLU, a subject per sort of fact."""

from __future__ import annotations

import zlib
from typing import Any

from scripts.demo_rows.facts import SORTS, options_of
from scripts.demo_rows.grammar import Chance
from scripts.demo_rows.splits import check_split

SIZES = {"dev": 5, "test": 40}
"""Questions of each subject."""


def generate(split: str) -> list[dict[str, Any]]:
    """Draw the rows of a split: `subject`, `question`, `choices`, and `answer` from 0 to 3.

    Raises:
        GoftError: the split is unknown.
    """
    check_split("demo/choices", split, SIZES)
    chance = Chance(zlib.crc32(f"choices/{split}".encode()))
    return [_row(subject, chance) for subject in SORTS for _ in range(SIZES[split])]


def _row(subject: str, chance: Chance) -> dict[str, Any]:
    fact = SORTS[subject](chance)
    choices, answer = options_of(fact, chance)
    question = f"{fact.context}\nQuestion: {fact.question}".lstrip()
    return {"subject": subject, "question": question, "choices": choices, "answer": answer}

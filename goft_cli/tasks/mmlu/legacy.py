"""What LLaMA-Factory's evaluation did to MMLU until 30 May 2024, besides losing first rows.

Read in its `evaluation/mmlu/mmlu.py` and `src/llmtuner/eval/evaluator.py`, and in `datasets`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from goft_cli.tasks.mmlu.questions import Question


class Shuffles:
    """The permutations that `Dataset.shuffle()` draws one after another when it is given no seed.

    Each is seeded by the next word of numpy's global generator, which then advances by one number.
    """

    def __init__(self, seed: int) -> None:
        self.generator = np.random.RandomState(seed)

    def draw(self, count: int) -> list[int]:
        """Return the next permutation of `count` indices."""
        state = self.generator.get_state(legacy=False)["state"]
        words, position = state["key"], state["pos"]
        seed = words[position % len(words)]
        self.generator.random_sample()
        return np.random.default_rng(seed).permutation(count).tolist()


def as_pandas_reads(questions: Sequence[Question]) -> list[Question]:
    """Return one file's questions with their texts as `pandas.read_csv` understands the cells.

    A cell such as None or N/A becomes nan, and in a column of numbers alone 0.50 becomes 0.5.
    """
    import pandas as pd

    if not questions:
        return []
    table = io.StringIO(newline="")
    csv.writer(table).writerows([question.question, *question.choices] for question in questions)
    table.seek(0)
    read = pd.read_csv(table, header=None).to_dict("records")
    texts = [[str(cell) for cell in row.values()] for row in read]
    return [
        replace(question, question=text, choices=choices)
        for question, (text, *choices) in zip(questions, texts, strict=True)
    ]

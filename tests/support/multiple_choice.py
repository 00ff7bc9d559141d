"""A csv folder in MMLU's layout, and a small causal model to score on it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from goft_cli.config import MMLUConfig
from tests.support.decoders import shipped_llama
from tests.support.recipe_cells import alone

DEV_ROWS = 5
SUBJECTS = {"abstract_algebra": 7, "anatomy": 4, "sociology": 6}
"""Number of questions that `write_folder` writes: one subject each of three MMLU categories."""

Row = Sequence[str]

STRANGE: list[Row] = [
    [" Blank before?", "no", "perhaps", "yes", "never", "A"],
    ["Blank behind? ", " no", "perhaps ", "  ", "", "B"],
    ["Two  blanks within,\n\nand lines?", "a\nb", "\tc", "d", "e", "C"],
    ["\n Lines around?\r\n", "1", "2", "3", "4", "D"],
    ["\tTabs\taround?\t", "A", "B", "C", "D", "A"],
    ["\u00a0A hard blank, a next line?\x85", "x", "y", "z", '"w", v', "B"],
    ["   ", "only", "blanks", "above", "here", "C"],
    ["Answer: A\n\nA. trick?", "\u00a0", "B. b", "Answer:", "D", "D"],
]
"""Questions and choices with spaces, tabs and line breaks in unusual places."""


def made_up(subject: str, index: int) -> list[str]:
    """Return a question whose length depends on its index, its choices and the answer's letter."""
    question = f"Of {subject}, {'very ' * (index % 4)}much: what is {index} plus one?"
    choices = [str(index + offset) for offset in range(4)]
    return [question, *choices, "ABCD"[index % 4]]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a csv file without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_folder(folder: Path, subjects: dict[str, int] | None = None) -> Path:
    """Write dev/SUBJECT_dev.csv and test/SUBJECT_test.csv for each subject."""
    for subject, count in (subjects or SUBJECTS).items():
        rows = [made_up(subject, index) for index in range(DEV_ROWS + count)]
        write_rows(folder / "dev" / f"{subject}_dev.csv", rows[:DEV_ROWS])
        write_rows(folder / "test" / f"{subject}_test.csv", rows[DEV_ROWS:])
    return folder


def config(name: str, **changes: Any) -> MMLUConfig:  # noqa: ANN401 - any field
    """Read a YAML below configs/task/; keywords replace its fields."""
    found = alone(f"task/{name}")
    assert isinstance(found, MMLUConfig)
    return replace(found, **changes)


@cache
def tiny_llama() -> tuple[PreTrainedModel, Tokenizer]:
    """Load the shipped decoder; it takes 256 tokens."""
    model, tokenizer = shipped_llama()
    return model.eval(), tokenizer

"""The demo's instructions have every form, and no question occurs twice in or across splits."""

from __future__ import annotations

import pytest

from goft_cli.system.errors import GoftError
from scripts.demo_rows.instructions import SIZES, generate

pytestmark = pytest.mark.slow  # tests a maintainer's script; the package ships its output

SPLITS = list(SIZES)


def test_no_question_is_asked_twice() -> None:
    asked = [(row["instruction"], row["input"]) for split in SPLITS for row in generate(split, 300)]
    assert len(set(asked)) == len(asked) == 300 * len(SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_every_form_occurs(split: str) -> None:
    rows = generate(split, 300)  # pyright: ignore[reportArgumentType] - one of SPLITS
    letters = [row for row in rows if row["instruction"] == "Choose the right letter."]
    sentences = [row for row in rows if row["instruction"].startswith("Say it in a sentence. ")]
    assert len(letters) > 50
    assert len(sentences) > 50
    assert len(rows) - len(letters) - len(sentences) > 20
    assert all(row["output"][-1] == "." and " " in row["output"] for row in sentences)
    for row in letters:
        assert f"\n{row['output']}. " in row["input"]
        assert "Answer" not in row["input"]


def test_the_same_seed_draws_the_same_rows() -> None:
    assert generate("test", 20) == generate("test", 20)
    assert generate("test", 20) != generate("test", 20, seed=1)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(GoftError, match=r"demo/instructions.*'dev'.*train"):
        generate("dev")  # pyright: ignore[reportArgumentType] - the mistake

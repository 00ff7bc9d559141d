"""Properties of the generated stories and their questions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from scripts.demo_rows.acceptability import Split
from scripts.demo_rows.questions import SIZES, THINGS, VERBS, generate

pytestmark = pytest.mark.slow  # tests a maintainer's script; the package ships its output

DOING = [verb.ing for verb in VERBS]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return generate("validation")


def test_default_sizes_and_no_story_twice() -> None:
    stories = [row["context"] for split in SPLITS for row in generate(split)]
    assert len(stories) == sum(SIZES.values()) == len(set(stories))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 20), st.sampled_from(SPLITS))
def test_same_seed_same_rows(seed: int, size: int, split: Split) -> None:
    found = generate(split, size, seed)
    assert found == generate(split, size, seed)
    assert [row["id"] for row in found] == [f"{split}-{i + 1}" for i in range(size)]


def test_another_seed_tells_other_stories() -> None:
    first, second = ({row["context"] for row in generate("test", 50, seed)} for seed in (0, 1))
    assert not first & second


def told(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return subject, verb and object of each sentence, in lower case and without places."""
    sentences = row["context"].lower().rstrip(".").split(". ")
    found = [re.split(rf" is ({'|'.join(DOING)}) ", sentence) for sentence in sentences]
    place = re.compile(r" (in|near|behind|beside) the \w+$")
    return [(doer, verb, place.sub("", other)) for doer, verb, other in found]


def test_the_story_has_exactly_the_one_answer(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        asked = row["question"].lower().removeprefix("who is ").rstrip("?")
        answers = [
            doer if asked == f"{verb} {other}" else other
            for doer, verb, other in told(row)
            if asked in (f"{verb} {other}", f"{doer} {verb}")
        ]
        text, start = (row["answers"][key][0] for key in ("text", "answer_start"))
        assert answers == [text.lower()]
        assert row["context"][start:].startswith(text)


def test_every_sentence_has_words_of_its_own(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        sides = [(doer.split()[-1], verb, other.split()[-1]) for doer, verb, other in told(row)]
        words = [word for side in sides for word in side]
        assert len(set(words)) == len(words)


def test_both_sides_are_asked_for_but_no_things(rows: list[dict[str, Any]]) -> None:
    asks_for_doer = {row["question"].split()[2] in DOING for row in rows}
    assert asks_for_doer == {True, False}
    assert not {row["answers"]["text"][0].split()[-1] for row in rows} & set(THINGS)


def test_the_tiny_encoder_knows_every_word(rows: list[dict[str, Any]]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(asset_dir("tiny-deberta-v3"))
    texts = [text for row in rows for text in (row["context"], row["question"])]
    assert not {token for text in texts for token in tokenizer.tokenize(text) if "##" in token}


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(GoftError, match=r"'dev'.*train, validation, test"):
        generate("dev")  # pyright: ignore[reportArgumentType]

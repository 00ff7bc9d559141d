"""Properties of the generated acceptability data and of the pretraining texts."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.system.errors import GoftError
from scripts.demo_rows import lexicon
from scripts.demo_rows.acceptability import (
    SIZES,
    Example,
    Split,
    corpus,
    examples,
    generate,
    share_of,
)
from scripts.demo_rows.facts import LETTERS, NUMBERS, as_choices, draw, texts
from scripts.demo_rows.grammar import PHENOMENA, Chance, spell
from scripts.demo_rows.sentences import Sentences

pytestmark = pytest.mark.slow  # tests a maintainer's script; the package ships its output

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def data() -> dict[Split, list[Example]]:
    return {split: examples(split) for split in SPLITS}


@pytest.mark.slow
def test_default_sizes_and_balance(data: dict[Split, list[Example]]) -> None:
    for split, rows in data.items():
        assert len(rows) == SIZES[split]
        assert Counter(row.label for row in rows) == {0: SIZES[split] // 2, 1: SIZES[split] // 2}


def test_no_sentence_twice_within_or_across_splits(data: dict[Split, list[Example]]) -> None:
    sentences = [row.sentence for rows in data.values() for row in rows]
    assert len(set(sentences)) == len(sentences)


def test_minimal_pairs_stay_within_their_split(data: dict[Split, list[Example]]) -> None:
    for split, rows in data.items():
        assert {share_of(row.sentence) for row in rows} == {split}
        assert {share_of(row.source) for row in rows if row.source} == {split}


def test_unacceptable_sentences_differ_from_their_source(data: dict[Split, list[Example]]) -> None:
    broken = [row for rows in data.values() for row in rows if row.label == 0]
    assert all(row.source and row.source != row.sentence for row in broken)
    assert {row.phenomenon for row in broken} == set(PHENOMENA)


def test_labels_are_shuffled_and_not_told_by_length(data: dict[Split, list[Example]]) -> None:
    labels = [row.label for row in data["train"]]
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    # Independent labels change half of the time; six standard deviations are allowed.
    assert abs(changes - len(labels) / 2) < 6 * (len(labels) / 4) ** 0.5
    words = {0: 0, 1: 0}
    for row in data["train"]:
        words[row.label] += len(row.sentence.split())
    # The labels are balanced, so equal sums are equal means. A corrupted sentence needs a place
    # for a fault, so it is a little longer.
    assert 0.8 < words[0] / words[1] < 1.25


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 40), st.sampled_from(SPLITS))
def test_same_seed_same_rows_and_longer_draws_are_as_balanced(
    seed: int, size: int, split: Split
) -> None:
    rows = generate(split, size, seed)
    assert rows == generate(split, size, seed)
    assert [set(row) for row in rows] == [{"sentence", "label"}] * size
    assert sum(int(row["label"]) for row in rows) == (size + 1) // 2


def test_another_seed_draws_other_sentences() -> None:
    first = {row["sentence"] for row in generate("train", 100, 0)}
    second = {row["sentence"] for row in generate("train", 100, 1)}
    assert len(first & second) < 10


@pytest.mark.slow
def test_data_does_not_depend_on_string_hashing() -> None:
    code = (
        "from scripts.demo_rows.acceptability import corpus, generate\n"
        "print(generate('train', 20), list(corpus(10)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},  # not that of this process
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout == f"{generate('train', 20)} {list(corpus(10))}\n"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_every_fault_changes_the_sentence_within_the_vocabulary(seed: int) -> None:
    phrase = Sentences(Chance(seed)).sentence()
    sentence = spell(phrase.words)
    assert sentence[0].isupper()
    assert sentence[-1] in ".?"
    for fault in phrase.faults:
        assert 0 <= fault.start <= fault.stop <= len(phrase.words)
        assert fault.phenomenon in PHENOMENA
        assert spell(phrase.faulted(fault)) != sentence


def test_no_sentence_is_both_acceptable_and_unacceptable() -> None:
    sentences = Sentences(Chance(3))
    phrases = [sentences.sentence() for _ in range(4000)]
    right = {spell(phrase.words) for phrase in phrases}
    wrong = {spell(phrase.faulted(fault)) for phrase in phrases for fault in phrase.faults}
    assert not right & wrong


def test_lexicon_has_no_word_that_could_excuse_a_fault() -> None:
    nouns = (*lexicon.ANIMATE, *lexicon.THINGS, *lexicon.PLACES)
    assert all(noun.singular != noun.plural for noun in nouns)
    verbs = (*lexicon.PERSON_VERBS, *lexicon.THING_VERBS, *lexicon.INTRANSITIVE_VERBS)
    assert all(len({verb.base, verb.third, verb.past, verb.ing}) == 4 for verb in verbs)
    forms = {form for verb in verbs for form in verb}
    assert not forms & {form for noun in nouns for form in (noun.singular, noun.plural)}


def test_corpus_holds_no_sentence_of_any_split(data: dict[Split, list[Example]]) -> None:
    held_out = {row.sentence for rows in data.values() for row in rows}
    lines = list(corpus(1500, seed=7))
    assert lines == list(corpus(1500, seed=7))
    sentences = [part + mark for line in lines for part, mark in _sentences(line)]
    assert len(sentences) > len(lines)
    assert not held_out & set(sentences)
    assert {share_of(sentence) for sentence in sentences} == {"corpus"}


def _sentences(line: str) -> list[tuple[str, str]]:
    """Split a text at full stops and question marks; the grammar has no abbreviations."""
    ends = [i for i, sign in enumerate(line) if sign in ".?"]
    starts = [0, *(end + 2 for end in ends)]
    return [(line[a:b], line[b]) for a, b in zip(starts, ends, strict=False)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a uncle sleeps .", "An uncle sleeps."),
        ("there is a apple , but he waits .", "There is an apple, but he waits."),
        ("does a dog wait ?", "Does a dog wait?"),
    ],
)
def test_spelling(words: str, expected: str) -> None:
    assert spell(words.split()) == expected


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(GoftError, match=r"'dev'.*train, validation, test"):
        examples("dev")  # pyright: ignore[reportArgumentType]
    with pytest.raises(GoftError, match="size=-1, expected zero or more"):
        examples("train", -1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_facts_have_one_right_option(seed: int) -> None:
    chance = Chance(seed)
    fact = draw(chance)
    assert fact.answer not in fact.others
    *_, first, second, third, fourth, last = as_choices(fact, chance).splitlines()
    options = dict(line.split(". ", 1) for line in (first, second, third, fourth))
    assert list(options) == list(LETTERS)
    assert len(set(options.values())) == 4
    assert options[last.removeprefix("Answer: ")] == fact.answer


def test_sums_are_right() -> None:
    sums = [line.split() for line in texts(500, seed=1) if " plus " in line and line[-1] == "."]
    assert sums
    for left, _, right, _, total in sums:
        value = {word: number for number, word in enumerate(NUMBERS)}
        assert value[left.lower()] + value[right] == value[total.rstrip(".")]

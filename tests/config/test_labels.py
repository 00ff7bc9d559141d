"""All spellings of a value give the same label, and other values give other labels."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import TextClassificationConfig
from goft_cli.config.labels import Labels, alike, identity, level
from goft_cli.system.errors import GoftError

BLANKS = st.text(" \t\u00a0", max_size=2)
WORDS = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x17F), min_size=1, max_size=6)
INTEGERS = st.integers(-(2**53), 2**53)


def spellings(number: int) -> list[Any]:
    """Return every spelling of an integer that files and libraries are known to use."""
    texts = [f"{number}", f"{number}.", f"{number}.0", f"{number}.000"]
    values = [number, float(number), np.int64(number), np.float64(number), Decimal(number)]
    truth = {0: [False, "false", "False", "FALSE"], 1: [True, "true", "True", "TRUE"]}
    return [*texts, *values, *truth.get(number, [])]


@given(INTEGERS | st.sampled_from([0, 1]), INTEGERS, BLANKS, BLANKS)
def test_a_number_is_one_label_in_every_spelling(
    number: int, other: int, before: str, after: str
) -> None:
    found = {identity(value) for value in spellings(number)}
    found |= {identity(before + v + after) for v in spellings(number) if isinstance(v, str)}
    assert len(found) == 1
    assert (identity(f" {other}.0") in found) == (number == other)


@pytest.mark.parametrize(
    "value", [None, "", " \t", math.nan, math.inf, np.nan, [1], {}, b"1", 1j, Decimal("NaN")]
)
def test_what_is_no_label(value: object) -> None:
    assert identity(value) is None


@pytest.mark.parametrize("text", ["1e3", "1_000", "nan", "inf", "-", "0x10", "1.0.0", "٣"])
def test_texts_that_are_names_and_no_numbers(text: str) -> None:
    assert identity(f" {text} ") == text


@given(st.lists(WORDS, min_size=2, max_size=5, unique_by=level), st.data())
def test_a_name_is_found_whatever_its_case_and_separators(
    words: list[str], data: st.DataObject
) -> None:
    names = [f"{word}_is-it" for word in words]
    index = data.draw(st.integers(0, len(names) - 1))
    separator = data.draw(st.sampled_from(["_", "-", " ", " - ", "__"]))
    written = f"{words[index].swapcase()}{separator}IS{separator}it"
    found = Labels(names).id_of(written)
    assert found == (index if level(written) == level(names[index]) else None)
    assert Labels(names).id_of(names[index]) == index


@given(WORDS, WORDS)
def test_a_name_is_one_label_in_every_form_of_unicode(name: str, other: str) -> None:
    forms = [normalize(form, name) for form in ("NFC", "NFD")]
    assert len({identity(form) for form in forms}) == len({level(form) for form in forms}) == 1
    labels = Labels([forms[0], f"{other} no {name}"])
    assert [labels.id_of(form) for form in forms] == [0, 0]


@given(st.lists(WORDS, unique=True))
def test_names_are_alike_if_they_have_one_level(names: list[str]) -> None:
    groups = alike(names)
    for group in groups:
        assert len(group) > 1
        assert len({level(name) for name in group}) == 1
    single = [name for name in names if not any(name in group for group in groups)]
    kept = single + [group[-1] for group in groups]
    assert len({level(name) for name in kept}) == len(kept)
    assert alike(["-", "--", "a"]) == []


def test_of_names_that_differ_in_case_only_each_is_found_by_itself() -> None:
    labels = Labels(["us", "US", "uk"])
    assert [labels.id_of(name) for name in ("us", "US", "UK", "Us")] == [0, 1, 2, None]


def test_signs_alone_are_no_separators_to_level() -> None:
    labels = Labels(["-", "+"])
    assert [labels.id_of(name) for name in ("-", "+", "--", "_")] == [0, 1, None, None]


@pytest.mark.parametrize(
    ("names", "zero", "one"),
    [
        (["bad", "good"], 0, 1),  # ids, as in GLUE's own files
        (["0", "1"], 0, 1),
        (["1", "0"], 1, 0),
        (["1.0", "0.0"], 1, 0),
        (["False", "True"], 0, 1),
        (["true", "false"], 1, 0),
        (["1", "2", "3"], None, 0),  # names: there is no label 0
        (["0", "1", "unknown"], 0, 1),
        (["unknown", "1"], None, 1),
        (["no", "yes"], 0, 1),
        (["yes", "no"], None, None),  # ambiguous: 1 is the id of `no` and may mean `yes`
        (["On", "Off"], None, None),
        (["no", "maybe", "yes"], 0, 1),
    ],
)
def test_a_number_is_a_name_before_it_is_an_id(
    names: list[str], zero: int | None, one: int | None
) -> None:
    labels = Labels(names)
    assert {labels.id_of(value) for value in spellings(0)} == {zero}
    assert {labels.id_of(value) for value in spellings(1)} == {one}
    assert labels.id_of(-1) is labels.id_of(0.5) is labels.id_of(len(names) + 1) is None


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["1", "1.0"], ["'1'", "'1.0'"]),
        (["True", "x", "1"], ["'True'", "'1'"]),
        (["007", "7"], ["'007'", "'7'"]),
        (["good", " good "], ["'good'", "' good '"]),
        (["good", "good"], ["'good'"]),
        (["good", " "], ["' '"]),
    ],
)
def test_labels_that_fall_together_are_refused_when_the_task_is_configured(
    names: list[str], named: list[str]
) -> None:
    with pytest.raises(GoftError, match=r"task\.labels") as caught:
        TextClassificationConfig(name="x", labels=names)
    assert all(name in str(caught.value) for name in named)


@given(st.permutations(["not_entailment", "entailment", "no-answer"]))
def test_the_datas_own_names_count_in_any_order(order: list[str]) -> None:
    own = [name.replace("_", " ").title().replace(" ", "-") for name in order]
    ids = Labels(["entailment", "not_entailment", "no_answer"]).ids_of(own, "train")
    assert ids == [["entailment", "not_entailment", "no-answer"].index(name) for name in order]


@pytest.mark.parametrize(
    "own", [["a"], ["a", "b", "c"], ["a", "x"], ["a", "A"], ["a", "a", "b"], ["0", "1", "2"]]
)
def test_names_that_are_not_the_tasks_are_refused_with_both_lists(own: list[str]) -> None:
    with pytest.raises(GoftError, match="train") as caught:
        Labels(["a", "b"]).ids_of(own, "train")
    assert ", ".join(own) in str(caught.value)
    assert "a, b" in str(caught.value)


def test_spelling_is_the_datas_where_the_data_has_one() -> None:
    labels = Labels(["not_ok", "ok", "1"])
    values = [" Not-OK", "Not-OK", "OK", "Ok", "1.0", 7, None, ["x"], "other"]
    assert labels.spelled_as(values).names == ("Not-OK", "ok", "1")
    assert Labels(["false", "true"]).spelled_as(["True", "False"]).names == ("False", "True")

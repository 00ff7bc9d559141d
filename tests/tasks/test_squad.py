"""Exact match and F1 equal a second implementation, and known values for difficult texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.config.choices import Target
from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.metrics import SQUAD, words
from tests.support.squad_scorer import Case, score

# Parts for normalisation: articles, punctuation, blanks, capitals, other alphabets.
PIECES = [
    "the",
    "The",
    "a",
    "an",
    "An",
    "cat",
    "CAT",
    "Éa",
    "ß",
    "x1",
    "-",
    ".",
    "'",
    "“",
    " ",
    "\t",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
CASES = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=6)


def scored(cases: list[Case]) -> dict[str, float]:
    predictions, references = zip(*cases, strict=True)
    return SQUAD.compute(predictions, references)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_it_equals_a_second_implementation_to_the_last_digit(
    cases: list[Case],
) -> None:
    assert scored(cases) == score(cases)


@given(TEXTS)
def test_blanks_around_a_text_do_not_matter(text: str) -> None:
    assert words(f" {text}\n") == words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Eiffel Tower", "eiffel tower"),
        ("  a\tdog  and an\nowl ", "dog and owl"),
        ("U.S.A.", "usa"),
        ("O'Neill's 1,000", "oneills 1000"),
        ("the-end", "theend"),  # punctuation goes first, so no article is left
        ("A.", ""),  # it is an article once its full stop is gone
        ("theatre another banana", "theatre another banana"),
        ("“the” «a»", "“ ” « »"),  # only ASCII punctuation is deleted
        ("Straße É", "straße é"),
        ("the a", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@pytest.mark.parametrize(
    ("prediction", "answers", "exact_match", "f1"),
    [
        ("The Denver Broncos!", ["denver broncos"], 100, 100),
        ("Broncos Denver", ["Denver Broncos"], 0, 100),  # a bag of words has no order
        ("Denver", ["Denver Broncos", "Carolina"], 0, 100 * 2 / 3),
        ("Carolina", ["Denver Broncos", "Carolina"], 100, 100),
        ("Denver Denver", ["Denver"], 0, 100 * 2 / 3),  # a word counts as often as it occurs
        ("", ["Denver"], 0, 0),
        ("the", ["a"], 100, 0),  # both are empty: an exact match, but no shared word
        ("empty", ["Denver"], 0, 0),
    ],
)
def test_one_answer(prediction: str, answers: list[str], exact_match: float, f1: float) -> None:
    expected = {"exact_match": exact_match, "f1": pytest.approx(f1)}
    assert scored([(prediction, answers)]) == expected


def test_questions_count_alike() -> None:
    found = scored([("a dog", ["dog"]), ("cat", ["the bird"]), ("x y", ["x"]), ("x", ["x", "y"])])
    assert found == {"exact_match": 50.0, "f1": pytest.approx(100 * (2 + 2 / 3) / 4)}


def test_it_is_no_metric_of_labels() -> None:
    with pytest.raises(GoftError, match=r"'squad'.*accuracy"):
        metrics.check_names(["squad"], headline="squad", target=Target.two)

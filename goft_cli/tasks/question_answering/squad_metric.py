"""Exact match and F1 of answers, as the official SQuAD v1.1 script computes them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from goft_cli.metrics import Metric

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """exact_match and f1 over normalised words, from 0 to 100, against the best true answer."""
    pairs = [
        (words(text), [words(answer) for answer in answers])
        for text, answers in zip(predictions, references, strict=True)
    ]
    return {"exact_match": percent(exact_match, pairs), "f1": percent(word_f1, pairs)}


SQUAD = Metric(squad, "string", several=True)


def words(text: str) -> list[str]:
    """Normalise a text: lower case, then no punctuation, then no articles.

    The order matters: "the-end" loses its hyphen first and then has no article to lose.
    """
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def exact_match(prediction: list[str], answer: list[str]) -> float:
    """Return 1 for the same words in the same order, else 0."""
    return float(prediction == answer)


def word_f1(prediction: list[str], answer: list[str]) -> float:
    """Return the harmonic mean of precision and recall of words; 0 where none is shared.

    Two texts without a word share none: v1.1 knows no empty answers.
    """
    shared = sum((Counter(prediction) & Counter(answer)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def percent(
    measure: Callable[[list[str], list[str]], float],
    pairs: Sequence[tuple[list[str], list[list[str]]]],
) -> float:
    """Average a measure over all predictions, each held against its best answer."""
    # Not sum(), which compensates rounding from Python 3.12 on: the official script does not.
    total = 0.0
    for prediction, answers in pairs:
        total += max(measure(prediction, answer) for answer in answers)
    return 100.0 * total / len(pairs)

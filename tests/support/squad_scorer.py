"""A second SQuAD v1.1 scorer: it reads the official script's files and shares no code with it."""

from __future__ import annotations

import json
import string
import unicodedata
from pathlib import Path

Case = tuple[str, list[str]]


def score_files(document: Path, predictions: Path) -> dict[str, float]:
    """Score a predictions file against a data file; a missing prediction is wrong."""
    texts = json.loads(predictions.read_text(encoding="utf-8"))
    data = json.loads(document.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
    questions = [question for paragraph in paragraphs for question in paragraph["qas"]]
    return score(
        [
            (texts.get(question["id"]), [answer["text"] for answer in question["answers"]])
            for question in questions
        ]
    )


def score(cases: list[Case]) -> dict[str, float]:
    """Score question by question, adding up in the order of the questions."""
    exact = total = 0.0
    for text, answers in cases:
        if text is not None:
            exact += max(float(plain(text) == plain(answer)) for answer in answers)
            total += max(overlap(plain(text), plain(answer)) for answer in answers)
    return {"exact_match": 100.0 * exact / len(cases), "f1": 100.0 * total / len(cases)}


def plain(text: str) -> list[str]:
    """Normalise character by character, without regular expressions."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    runs: list[str] = [""]
    for sign in kept:
        if runs[-1] and in_a_word(sign) != in_a_word(runs[-1][-1]):
            runs.append("")
        runs[-1] += sign
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def in_a_word(sign: str) -> bool:
    """Return whether a character is a letter or number of any alphabet; "_" is neither."""
    return unicodedata.category(sign)[0] in "LN"


def overlap(prediction: list[str], answer: list[str]) -> float:
    """Return the F1 score; a word of the answer counts as shared only once."""
    left, shared = list(answer), 0
    for word in prediction:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)

"""From start and end logits to spans of the context, after `run_qa.py`'s post-processing.

In each window the best starts are paired with the best ends, wherever in the window they are; pairs
that leave the context, run backwards or are too long are dropped; the best of what remains over all
windows of a row are its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goft_cli.tasks.question_answering.windows import OUTSIDE, Windows

NOTHING = "empty"
"""The answer where no pair is left."""


@dataclass(frozen=True)
class Answer:
    """One possible answer; its score is the sum of the logits."""

    text: str
    start_logit: float
    end_logit: float


@dataclass(frozen=True)
class Spans:
    """Spans of the rows' contexts.

    Attributes:
        rows: (spans,) the row that each belongs to.
        places: (spans, 2) characters of the context: first, and after the last.
        logits: (spans, 2) start and end.
    """

    rows: np.ndarray
    places: np.ndarray
    logits: np.ndarray


def best_answers(
    logits: tuple[np.ndarray, np.ndarray],
    windows: Windows,
    contexts: Sequence[str],
    *,
    n_best_size: int,
    max_answer_length: int,
) -> list[list[Answer]]:
    """Return the best answers of each row, at least one and at most `n_best_size`.

    Args:
        logits: (windows, longest) each, of starts and ends; what lies past a window's length is
            not looked at.
        windows: what the logits belong to.
        contexts: text by row.
        n_best_size: starts and ends to pair in each window, and answers to keep.
        max_answer_length: in tokens.
    """
    pairs = pair(logits, windows, n_best_size, max_answer_length)
    spans = keep_best(pairs, n_best_size)
    answers: list[list[Answer]] = [[] for _ in contexts]
    for row, place, own in zip(
        *(array.tolist() for array in (spans.rows, spans.places, spans.logits)), strict=True
    ):
        # Sentencepiece counts the blank before a word as the word's; no scorer minds it.
        start, end = place
        text = contexts[int(row)][start:end].strip()
        answers[row].append(Answer(text, *own))
    return [found or [Answer(NOTHING, 0.0, 0.0)] for found in answers]


def pair(
    logits: tuple[np.ndarray, np.ndarray], windows: Windows, n_best_size: int, longest: int
) -> Spans:
    """Pair the best starts with the best ends of each window; unordered."""
    (starts, first), (ends, last) = (
        _largest(values, windows.lengths, n_best_size) for values in logits
    )
    begin = np.take_along_axis(windows.starts, starts, axis=1)[:, :, None]
    stop = np.take_along_axis(windows.ends, ends, axis=1)[:, None, :]
    length = ends[:, None, :] - starts[:, :, None] + 1
    kept = (begin != OUTSIDE) & (stop != OUTSIDE) & (length >= 1) & (length <= longest)
    window, start, end = np.nonzero(kept)
    return Spans(
        windows.rows[window],
        np.stack([begin[window, start, 0], stop[window, 0, end]], axis=1),
        np.stack([first[window, start], last[window, end]], axis=1),
    )


def keep_best(spans: Spans, count: int) -> Spans:
    """Order spans by row and score, and keep the first `count` of each row."""
    order = np.lexsort((-spans.logits.sum(axis=1), spans.rows))
    rows = spans.rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    chosen = order[rank < count]
    return Spans(spans.rows[chosen], spans.places[chosen], spans.logits[chosen])


def _largest(values: np.ndarray, lengths: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and values of the largest entries of each row within its length."""
    width = int(lengths.max())
    real = np.where(np.arange(width) < lengths[:, None], values[:, :width], -np.inf)
    positions = np.argsort(-real, axis=1, kind="stable")[:, :count]
    return positions, np.take_along_axis(real, positions, axis=1)

"""The best spans are those that a search through all spans finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.tasks.question_answering.windows import (
    NOTHING,
    OUTSIDE,
    Answer,
    Best,
    Windows,
    best_answers,
    largest,
)

LEAD = 3  # [CLS], one token of the question, [SEP]
Logits = tuple[np.ndarray, np.ndarray]


def keep(logits: Logits, windows: Windows, count: int) -> Best:
    """Return what a batch's outputs are reduced to: the `count` largest logits of each window."""
    mask = torch.arange(logits[0].shape[1]) < torch.tensor(windows.lengths)[:, None]
    start, end = (largest(torch.tensor(values), mask, count) for values in logits)
    return start[0].numpy(), start[1].numpy(), end[0].numpy(), end[1].numpy()


def cut(contexts: list[str], size: int, shared: int) -> Windows:
    """Cut contexts of one token per letter into windows of `size` letters."""
    pieces = [
        (row, list(range(start, min(start + size, len(context)))))
        for row, context in enumerate(contexts)
        for start in range(0, max(len(context) - shared, 1), size - shared)
    ]
    lengths = np.array([LEAD + len(piece) + 1 for _, piece in pieces])
    starts = np.full((len(pieces), lengths.max()), OUTSIDE)
    for index, (_, piece) in enumerate(pieces):
        starts[index, LEAD : LEAD + len(piece)] = piece
    ends = np.where(starts == OUTSIDE, OUTSIDE, starts + 1)
    return Windows(np.array([row for row, _ in pieces]), lengths, starts, ends)


def searched(
    logits: Logits, windows: Windows, contexts: list[str], n_best: int, longest: int
) -> list[list[tuple[float, str]]]:
    """Try every pair of every window; return the best scores of each row with their texts."""
    found: list[list[tuple[float, str]]] = [[] for _ in contexts]
    for window, row in enumerate(windows.rows):
        real = range(windows.lengths[window])
        first, last = (values[window] for values in logits)
        best_first = sorted(real, key=lambda i: -first[i])[:n_best]
        best_last = sorted(real, key=lambda i: -last[i])[:n_best]
        for i in best_first:
            for j in best_last:
                begin, stop = windows.starts[window, i], windows.ends[window, j]
                if OUTSIDE not in (begin, stop) and i <= j < i + longest:
                    found[row].append((float(first[i] + last[j]), contexts[row][begin:stop]))
    return [sorted(answers, reverse=True)[:n_best] for answers in found]


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[str], Windows, Logits]:
    contexts = draw(st.lists(st.text("abcdefgh", min_size=1, max_size=14), min_size=1, max_size=3))
    windows = cut(contexts, size=6, shared=2)
    count = windows.starts.size
    # Distinct multiples of 1024 and of 1: no two sums are equal, and all are exact.
    first, last = (draw(st.permutations(range(count))) for _ in range(2))
    shape = windows.starts.shape
    return contexts, windows, (np.reshape(first, shape) * 1024.0, np.reshape(last, shape) * 1.0)


@settings(deadline=None, max_examples=150)
@given(problems(), st.integers(1, 6), st.integers(1, 5))
def test_the_best_are_those_of_a_full_search(
    problem: tuple[list[str], Windows, Logits], n_best: int, longest: int
) -> None:
    contexts, windows, logits = problem
    best = keep(logits, windows, n_best)
    answers = best_answers(best, windows, contexts, n_best_size=n_best, longest=longest)
    expected = searched(logits, windows, contexts, n_best, longest)
    assert [[(one.start_logit + one.end_logit, one.text) for one in row] for row in answers] == [
        row or [(0.0, NOTHING)] for row in expected
    ]


@settings(deadline=None, max_examples=40)
@given(problems(), st.floats(-1e6, 1e6), st.integers(0, 5))
def test_padding_is_not_looked_at(
    problem: tuple[list[str], Windows, Logits], value: float, more: int
) -> None:
    _, windows, logits = problem
    past = np.arange(windows.starts.shape[1]) >= windows.lengths[:, None]
    other = [
        np.pad(np.where(past, value, values), ((0, 0), (0, more)), constant_values=value)
        for values in logits
    ]
    kept = keep((other[0], other[1]), windows, 4)
    for one, again in zip(kept, keep(logits, windows, 4), strict=True):
        assert np.array_equal(one, again)


def test_a_row_without_a_possible_span_says_so() -> None:
    windows = cut(["ab"], size=6, shared=2)
    first, last = np.zeros((1, 6)), np.zeros((1, 6))
    first[0, LEAD + 1], last[0, LEAD] = 9, 9  # the only pair runs backwards
    best = keep((first, last), windows, 1)
    answers = best_answers(best, windows, ["ab"], n_best_size=1, longest=30)
    assert answers == [[Answer(NOTHING, 0.0, 0.0)]]


@pytest.mark.parametrize("text", [" b", "b "])
def test_blanks_around_an_answer_are_left_out(text: str) -> None:
    starts, ends = np.array([[OUTSIDE, 1, OUTSIDE]]), np.array([[OUTSIDE, 3, OUTSIDE]])
    windows = Windows(np.array([0]), np.array([3]), starts, ends)
    best = keep((np.zeros((1, 3)), np.zeros((1, 3))), windows, 20)
    options = {"n_best_size": 20, "longest": 30}
    assert best_answers(best, windows, [f"a{text}c"], **options)[0][0].text == "b"

"""Makes windows of tokens from question and context, and answers from the windows' logits.

The protocol is that of transformers' `run_qa.py`: a window has the whole question and a part of the
context, and windows of a long context overlap. The first answer is the target; a window without all
of it has its first token, [CLS], as the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import pad
from transformers import BatchEncoding

from goft_cli.config import QuestionAnsweringConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.tokens import Batch, Tokenizer, tokenized, usable_length

OUTSIDE = -1
"""Character offset of tokens that are not the context's."""
CHECKED_ROWS = 1000
"""Rows whose questions are measured at a time."""
NOTHING = "empty"
"""The answer if no pair of start and end is valid."""


PADDING = -100
"""Index and logit that fill up a window with fewer tokens than stored logits."""
Best = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Indices and logits of each window's largest starts, and of its ends, (windows, kept) each."""


@dataclass(frozen=True)
class Windows:
    """The rows and characters that the windows of a split belong to.

    Attributes:
        rows: (windows,) the row that each was cut from.
        lengths: (windows,) tokens, special ones included.
        starts: (windows, longest) first character of each token in the context, else `OUTSIDE`.
        ends: (windows, longest) the character after its last, else `OUTSIDE`.
    """

    rows: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def encode(rows: Dataset, tokenizer: Tokenizer, config: QuestionAnsweringConfig) -> Dataset:
    """Cut rows into windows, unpadded: the model's inputs, and what `read_windows` returns.

    Where rows have answers, `start_positions` and `end_positions` are the first and the last token.
    """
    if not tokenizer.is_fast:
        raise GoftError(
            f"{type(tokenizer).__name__} gives no positions of tokens in the text",
            "choose a model with a fast tokenizer (tokenizer.json)",
        )
    length = usable_length(config.max_length, tokenizer)

    def cut(batch: Batch, indices: list[int]) -> dict[str, Any]:
        encoded = _cut(batch, tokenizer, length, config.doc_stride)
        sources = encoded.pop("overflow_to_sample_mapping")
        offsets = _offsets(encoded)
        columns = {**encoded, "row": [indices[source] for source in sources]}
        columns["starts"], columns["ends"] = ([pair[side] for pair in offsets] for side in (0, 1))
        if "answers" in batch:
            answers = (batch["answers"][source] for source in sources)
            found = [_tokens(*pair, own) for pair, own in zip(offsets, answers, strict=True)]
            columns["start_positions"], columns["end_positions"] = np.array(found).T
        return columns

    options = {"length": length, "overlap": config.doc_stride}
    return tokenized(rows, cut, tokenizer=tokenizer, options=options, with_indices=True)


def read_windows(inputs: Dataset) -> Windows:
    """Read the columns that `encode` stores about its windows."""
    table = cast("Any", inputs.with_format("arrow")[:])
    lengths = table["starts"].combine_chunks().value_lengths().to_numpy()
    present = np.arange(lengths.max()) < lengths[:, None]

    def padded(name: str) -> np.ndarray:
        values = np.full(present.shape, OUTSIDE)
        values[present] = table[name].combine_chunks().flatten().to_numpy()
        return values

    return Windows(table["row"].to_numpy(), lengths, padded("starts"), padded("ends"))


def unfit_questions(
    rows: Dataset, tokenizer: Tokenizer, config: QuestionAnsweringConfig
) -> dict[int, str]:
    """Return, by the row's index, why a question leaves no room for the context."""
    length, found = usable_length(config.max_length, tokenizer), {}
    for number, batch in enumerate(rows.select_columns("question").iter(CHECKED_ROWS)):
        places = _without_room(_questions(batch), tokenizer, length, config.doc_stride)
        found |= {number * CHECKED_ROWS + place: reason for place, reason in places.items()}
    return found


def _questions(batch: Any) -> list[str]:  # noqa: ANN401 - a batch, which datasets calls a dict or a list
    # Some of SQuAD's questions begin with many blanks, which some tokenizers keep.
    return [question.lstrip() for question in batch["question"]]


def _cut(batch: Batch, tokenizer: Tokenizer, length: int, overlap: int) -> BatchEncoding:
    questions = _questions(batch)
    _require_room(questions, tokenizer, length, overlap)
    return tokenizer(
        questions,
        batch["context"],
        truncation="only_second",
        max_length=length,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def _require_room(questions: list[str], tokenizer: Tokenizer, length: int, overlap: int) -> None:
    """Refuse a question that leaves no room for the context: the tokenizer would panic."""
    for reason in _without_room(questions, tokenizer, length, overlap).values():
        longest = max(_token_counts(questions, tokenizer))
        fitting = (_room(length, tokenizer) - longest) // 2
        longer = "shorten it, or pass a larger task.max_length"
        raise GoftError(reason, f"pass task.doc_stride={fitting}" if fitting > 0 else longer)


def _without_room(
    questions: list[str], tokenizer: Tokenizer, length: int, overlap: int
) -> dict[int, str]:
    room = _room(length, tokenizer) - overlap
    counts = _token_counts(questions, tokenizer)
    return {
        place: f"the question {question[:60]!r} has {count} tokens, and windows of {length} "
        f"that share {overlap} have room for {max(room - 1, 0)}"
        for place, (question, count) in enumerate(zip(questions, counts, strict=True))
        if count >= room
    }


def _room(length: int, tokenizer: Tokenizer) -> int:
    """Return how many tokens of question and context a window of a length has."""
    return length - tokenizer.num_special_tokens_to_add(pair=True)


def _token_counts(texts: list[str], tokenizer: Tokenizer) -> list[int]:
    ids = cast("Any", tokenizer(texts, add_special_tokens=False)).input_ids
    return [len(one) for one in ids]


def _offsets(encoded: BatchEncoding) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (starts, ends) in characters per window; `OUTSIDE` for tokens not of the context."""
    pairs = []
    for window, offsets in enumerate(encoded.pop("offset_mapping")):
        own = np.array([sequence == 1 for sequence in encoded.sequence_ids(window)])
        values = np.where(own[:, None], np.array(offsets, dtype=np.int32), OUTSIDE)
        pairs.append((values[:, 0], values[:, 1]))
    return pairs


def _tokens(starts: np.ndarray, ends: np.ndarray, answers: dict[str, list[Any]]) -> tuple[int, int]:
    """Return the first and the last token of the first answer; (0, 0) if not all are there.

    `run_qa.py` searches for the last token that starts before the answer, which is past the end of
    the window if the answer's first token is the window's last one, and the wrong one of several
    that were made of one character.
    """
    first = answers["answer_start"][0]
    last = first + len(answers["text"][0])  # the character after it
    (context,) = np.nonzero(starts != OUTSIDE)
    begin = np.searchsorted(ends[context], first, side="right")
    end = np.searchsorted(starts[context], last, side="left") - 1
    if begin > end or first < starts[context[0]] or last > ends[context[-1]]:
        return 0, 0
    return int(context[begin]), int(context[end])


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


def largest(logits: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return places (int32) and values of the largest logits of each window, both (windows, count).

    Logits and mask are (windows, longest); the mask is 0 for padding. Equal logits keep their
    order, which `topk` does not guarantee.
    """
    real = logits.masked_fill(mask == 0, -torch.inf)
    values, places = (found[:, :count] for found in real.sort(dim=1, descending=True, stable=True))
    absent = values == -torch.inf
    missing = (0, count - values.shape[1])
    return (
        pad(places.masked_fill(absent, PADDING).int(), missing, value=PADDING),
        pad(values.masked_fill(absent, PADDING), missing, value=PADDING),
    )


def best_answers(
    best: Best, windows: Windows, contexts: Sequence[str], *, n_best_size: int, longest: int
) -> list[list[Answer]]:
    """Return the best answers of each row, at least one and at most `n_best_size`.

    The starts and the ends that were kept are paired in each window; `longest` is the most tokens
    of an answer.
    """
    spans = keep_best(candidates(best, windows, longest), n_best_size)
    answers: list[list[Answer]] = [[] for _ in contexts]
    for row, (start, end), own in zip(
        *(array.tolist() for array in (spans.rows, spans.places, spans.logits)), strict=True
    ):
        # Sentencepiece counts the blank before a word as the word's; scorers ignore it.
        answers[row].append(Answer(contexts[int(row)][start:end].strip(), *own))
    return [found or [Answer(NOTHING, 0.0, 0.0)] for found in answers]


def candidates(best: Best, windows: Windows, longest: int) -> Spans:
    """Pair the best starts with the best ends of each window; unordered."""
    starts, first, ends, last = best
    begin = _characters(windows.starts, starts)[:, :, None]
    stop = _characters(windows.ends, ends)[:, None, :]
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


def _characters(of_tokens: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the character of the token at each place; `OUTSIDE` where there is none."""
    found = np.take_along_axis(of_tokens, np.maximum(places, 0), axis=1)
    return np.where(places < 0, OUTSIDE, found)

"""Windows cover the context, share tokens as configured, and have the answer as their target."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from goft_cli.system.errors import GoftError
from goft_cli.tasks.question_answering import QuestionAnswering
from goft_cli.tasks.question_answering.windows import OUTSIDE, read_windows

QaMaker = Callable[..., QuestionAnswering]
TokenizerMaker = Callable[..., PreTrainedTokenizerFast]

LENGTH, SHARED = 16, 3
LETTERS = st.sampled_from("abcdefghij")


@st.composite
def answered(draw: st.DrawFn) -> dict[str, object]:
    """Draw a short question, a context of 1 to 60 letters, and an answer somewhere in it."""
    context = draw(st.text(LETTERS, min_size=1, max_size=60))
    start = draw(st.integers(0, len(context) - 1))
    stop = draw(st.integers(start + 1, len(context)))
    answers = {"text": [context[start:stop]], "answer_start": [start]}
    question = draw(st.text(LETTERS, min_size=1, max_size=8))
    return {"question": question, "context": context, "answers": answers}


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(answered(), min_size=1, max_size=3))
def test_windows_cover_the_context_and_share_what_they_should(
    rows: list[dict[str, object]], make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    task = make_task(max_length=LENGTH, doc_stride=SHARED)
    encoded = task.encode(Dataset.from_list(rows), make_tokenizer())
    windows = read_windows(encoded)
    assert windows.lengths.tolist() == [len(ids) for ids in encoded["input_ids"]]
    assert windows.lengths.max() <= LENGTH
    for index, row in enumerate(rows):
        own = windows.starts[windows.rows == index]
        pieces = [piece[piece != OUTSIDE].tolist() for piece in own]
        seen = pieces[0]
        for piece in pieces[1:]:
            assert seen[-SHARED:] == piece[:SHARED]
            seen = seen + piece[SHARED:]
        assert seen == list(range(len(str(row["context"]))))
    inside = windows.starts != OUTSIDE
    assert (windows.ends[inside] == windows.starts[inside] + 1).all()
    assert (windows.ends[~inside] == OUTSIDE).all()


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=answered())
def test_targets_are_the_answer_where_all_of_it_is_there(
    row: dict[str, dict[str, list[int]]], make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    task = make_task(max_length=LENGTH, doc_stride=SHARED)
    encoded = task.encode(Dataset.from_list([row]), make_tokenizer())
    windows = read_windows(encoded)
    first = row["answers"]["answer_start"][0]
    last = first + len(str(row["answers"]["text"][0]))
    for index, (begin, end) in enumerate(
        zip(encoded["start_positions"], encoded["end_positions"], strict=True)
    ):
        piece = windows.starts[index][windows.starts[index] != OUTSIDE]
        if piece[0] <= first and last <= piece[-1] + 1:
            assert (windows.starts[index][begin], windows.ends[index][end]) == (first, last)
        else:
            assert (begin, end) == (0, 0)


def spans(task: QuestionAnswering, tokenizer: PreTrainedTokenizerFast, *row: object) -> list[str]:
    """Return the text between the target tokens of each window."""
    question, context, answer, start = row
    answers = {"text": [answer], "answer_start": [start]}
    rows = Dataset.from_list([{"question": question, "context": context, "answers": answers}])
    encoded = task.encode(rows, tokenizer)
    windows = read_windows(encoded)
    return [
        str(context)[windows.starts[i, begin] : windows.ends[i, end]]
        for i, (begin, end) in enumerate(
            zip(encoded["start_positions"], encoded["end_positions"], strict=True)
        )
    ]


def test_an_answer_may_begin_with_the_last_token_of_its_window(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    assert spans(make_task(), make_tokenizer(), "q", "abc", "c", 2) == ["c"]


def test_an_answer_of_several_tokens_made_of_one_character(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    tokenizer = make_tokenizer(normalizer=normalizers.NFKC())
    encoded = spans(make_task(), tokenizer, "q", "a½b", "½", 1)
    assert encoded == ["½"]


def test_an_answer_that_the_tokenizer_drops_is_not_there(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    tokenizer = make_tokenizer(normalizer=normalizers.Replace("x", ""))
    assert spans(make_task(), tokenizer, "q", "axb", "x", 1) == [""]


def test_a_blank_may_belong_to_the_word_after_it(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    tokenizer = make_tokenizer(pre_tokenizers.Metaspace())
    assert spans(make_task(), tokenizer, "q", "a b c", "b", 2) == [" b"]


def test_the_first_answer_trains(make_task: QaMaker, make_tokenizer: TokenizerMaker) -> None:
    answers = {"text": ["c", "a"], "answer_start": [2, 0]}
    rows = Dataset.from_list([{"question": "q", "context": "abc", "answers": answers}])
    encoded = make_task().encode(rows, make_tokenizer())
    assert (encoded["start_positions"][0], encoded["end_positions"][0]) == (5, 5)


def test_blanks_before_a_question_take_no_room(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    rows = Dataset.from_dict({"question": [" " * 99 + "q"], "context": ["abc"]})
    encoded = make_task().encode(rows, make_tokenizer())
    assert len(encoded["input_ids"][0]) == 7
    assert not {"start_positions", "end_positions"} & set(encoded.column_names)


def test_a_batch_is_padded_and_has_no_notes(
    make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    task, tokenizer = make_task(), make_tokenizer()
    rows = Dataset.from_dict({"question": ["q", "q"], "context": ["abc", "a"]})
    encoded = task.encode(rows, tokenizer).select_columns(tokenizer.model_input_names)
    batch = task.collate(tokenizer)([encoded[0], encoded[1]])
    assert batch["attention_mask"].tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert batch["token_type_ids"].tolist() == [[0] * 3 + [1] * 4, [0] * 3 + [1] * 2 + [0] * 2]


@pytest.mark.parametrize("size", [17, 18, 40])
def test_a_question_without_room_for_its_context_is_named(
    size: int, make_task: QaMaker, make_tokenizer: TokenizerMaker
) -> None:
    rows = Dataset.from_dict({"question": ["q", "q" * size], "context": ["abc", "abc"]})
    sentence = (
        rf"the question 'q+' has {size} tokens, and windows of 24 that share 4 have room for 16"
    )
    with pytest.raises(GoftError, match=sentence) as refused:
        make_task().encode(rows, make_tokenizer())
    smaller = re.fullmatch(r"pass task\.doc_stride=(\d+)", refused.value.remedy)
    assert (smaller is None) == (size == 40)
    if smaller is not None:
        make_task(doc_stride=int(smaller[1])).encode(rows, make_tokenizer())
    found = make_task().unfit_rows(rows, None, make_tokenizer())
    assert [*found] == [1]
    assert re.fullmatch(sentence, found[1])


def test_the_longest_question_that_fits(make_task: QaMaker, make_tokenizer: TokenizerMaker) -> None:
    rows = Dataset.from_dict({"question": ["q" * 16], "context": ["a" * 30]})
    windows = read_windows(make_task().encode(rows, make_tokenizer()))
    assert (np.sum(windows.starts != OUTSIDE, axis=1) == [5] * 26).all()


def test_the_tokenizer_may_set_the_limit(
    make_task: QaMaker, make_tokenizer: TokenizerMaker, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Dataset.from_dict({"question": ["q"], "context": ["a" * 100]})
    with caplog.at_level(logging.WARNING):
        encoded = make_task(max_length=80).encode(rows, make_tokenizer())
    assert max(map(len, encoded["input_ids"])) == 64
    assert "task.max_length=80, but the tokenizer stops at 64" in caplog.text

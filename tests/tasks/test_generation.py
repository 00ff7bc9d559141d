"""Sampled answers are the same in any batch, and an answer ends before its first stop word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import Decoding
from goft_cli.system.errors import GoftError
from goft_cli.tasks.generation import StopWords, until, write
from tests.support.decoders import shipped_llama

QUESTIONS = ("The dog", "Who has the map?", "add two and three", "a", "The dog")
LETTERS = st.text("ab é雪\n", min_size=1, max_size=12)


def answers(batch_size: int = 5, places: range = range(5), **words: Any) -> list[str]:  # noqa: ANN401
    """Return tiny-llama's answers to the questions at these places."""
    model, tokenizer = shipped_llama()
    prompts = [tokenizer(text).input_ids for text in QUESTIONS[places.start : places.stop]]
    decoding = Decoding(**{"max_new_tokens": 12, **words})
    options: dict[str, Any] = {"stops": [2], "batch_size": batch_size, "decoding": decoding}
    return write(model, prompts, tokenizer, **options, numbers=places)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_what_is_drawn_depends_on_the_seed_and_the_row_alone(batch_size: int) -> None:
    whole = answers(temperature=1.0)
    assert answers(batch_size, temperature=1.0) == whole
    assert answers(places=range(3, 5), temperature=1.0) == whole[3:]
    assert answers(temperature=1.0, seed=1) != whole
    assert whole[0] != whole[4], "equal texts in two rows are answered anew"
    # one random number is drawn for each token, and the first are those of a shorter answer
    assert [long[:8] for long in answers(temperature=1.0, max_new_tokens=99)] == [
        short[:8] for short in whole
    ]


def test_an_answer_has_all_its_room_beside_a_long_prompt() -> None:
    model, tokenizer = shipped_llama()
    short = tokenizer("The dog").input_ids
    prompts = [short, [5] * 254, short[:3], [5] * 254]  # of 256 positions
    options: dict[str, Any] = {"stops": [5], "decoding": Decoding(max_new_tokens=12)}
    alone = write(model, prompts, tokenizer, **options, batch_size=1)
    assert len(tokenizer(alone[0]).input_ids) > 4
    assert write(model, prompts, tokenizer, **options, batch_size=4) == alone


def test_without_choice_nothing_is_drawn() -> None:
    assert answers(temperature=5.0, top_p=1e-9) == answers() == answers(seed=9)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_ends_before_its_first_stop_word(temperature: float) -> None:
    whole = answers(temperature=temperature)
    for stop in ([whole[0][3:5]], [whole[1][2], whole[2][4:7]], ["nonesuch"]):
        found = answers(temperature=temperature, stop=stop)
        assert found == [until(answer, stop) for answer in whole]
    assert answers(temperature=temperature, stop=["nonesuch"]) == whole


def test_a_token_beside_the_text_may_end_an_answer_too() -> None:
    model, tokenizer = shipped_llama()
    end = str(tokenizer.convert_ids_to_tokens(2))
    prompts = [tokenizer("The dog").input_ids]
    options: dict[str, Any] = {"stops": [5], "batch_size": 1}
    (whole,) = write(model, prompts, tokenizer, **options, decoding=Decoding(max_new_tokens=60))
    (ended,) = write(
        model, prompts, tokenizer, **options, decoding=Decoding(max_new_tokens=60, stop=[end])
    )
    assert len(ended) < len(whole)
    assert whole.startswith(ended)


@given(st.lists(LETTERS, min_size=1, max_size=3), LETTERS, st.lists(LETTERS, min_size=1))
def test_a_row_ends_with_the_token_that_completes_a_word(
    words: list[str], prompt: str, pieces: list[str]
) -> None:
    _, tokenizer = shipped_llama()
    start = tokenizer(prompt).input_ids
    ids = tokenizer("".join(pieces), add_special_tokens=False).input_ids
    criterion = StopWords(words, tokenizer, len(start))
    for size in range(1, len(ids) + 1):
        written = tokenizer.decode(ids[:size], skip_special_tokens=True)
        ended = bool(criterion(torch.tensor([[*start, *ids[:size]]]), None)[0])
        assert ended == any(word in written for word in words)
        if ended:
            break


@given(LETTERS, st.lists(LETTERS))
def test_what_is_left_of_a_text_has_no_stop_word(text: str, words: list[str]) -> None:
    left = until(text, words)
    assert text.startswith(left)
    assert not any(word in left for word in words)
    assert left == text or any(text[len(left) :].startswith(word) for word in words)


def test_stop_words_are_texts_and_may_be_line_breaks() -> None:
    assert Decoding(stop=["\\n\\n", "a\\tb", "END"]).stop == ["\n\n", "a\tb", "END"]
    with pytest.raises(GoftError, match=r"stop=.*not empty"):
        Decoding(stop=["x", ""])
    with pytest.raises(GoftError, match=r"top_p=0\.9 has no effect"):
        Decoding(top_p=0.9)

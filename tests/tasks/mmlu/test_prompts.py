"""Prompts to the letter, and what happens to those that are too long."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from goft_cli.errors import GoftError
from goft_cli.tasks.mmlu.prompts import Prompter, answer_tokens
from goft_cli.tasks.mmlu.questions import Question
from tests.multiple_choice import config, tiny_llama

SHOWN = [
    Question("us_foreign_policy", "First?", ["a", "b", "c", "d"], 2),
    Question("us_foreign_policy", "Second?", ["e", "f", "g", "h"], 0),
]
ASKED = Question("us_foreign_policy", "Third?", ["i", "j", "k", "l"], 3)
# As the scripts write them: hendrycks/test evaluate.py, LLaMA-Factory v0.4.0 with `vanilla`.
BODY = """

First?
A. a
B. b
C. c
D. d
Answer: C

Second?
A. e
B. f
C. g
D. h
Answer: A

Third?
A. i
B. j
C. k
D. l
Answer:"""
OPENING = "The following are multiple choice questions (with answers) about"
HEADERS = {
    "mmlu/full": f"{OPENING}  us foreign policy.",
    "mmlu/legacy": f"{OPENING} us foreign policy.",
}


def prompter(header: str, limit: int = 256) -> Prompter:
    return Prompter(header, SHOWN, tiny_llama()[1], limit)


@pytest.mark.parametrize("task", HEADERS)
def test_the_prompt_is_that_of_the_protocol(task: str) -> None:
    header = config(task).header
    assert prompter(header).text(ASKED, (0, 1)) == HEADERS[task] + BODY
    zero = "\n\nThird?" + BODY.partition("Third?")[2]
    assert prompter(header).text(ASKED, ()) == HEADERS[task] + zero
    assert prompter("").text(ASKED, ()) == zero.lstrip()


def test_exemplars_stand_in_the_order_given() -> None:
    text = prompter("").text(ASKED, (1, 0))
    assert text.index("Second?") < text.index("First?") < text.index("Third?")


def test_a_prompt_is_tokenized_whole_and_begins_as_texts_do() -> None:
    tokenizer = tiny_llama()[1]
    (prompt,) = prompter("About {subject}.").encode([ASKED], [(0, 1)])
    text = prompter("About {subject}.").text(ASKED, (0, 1))
    assert prompt.ids.tolist() == tokenizer(text)["input_ids"]
    assert prompt.ids[0] == tokenizer.bos_token_id
    assert prompt.ids.dtype == np.int32


def test_the_last_exemplars_make_room() -> None:
    whole = prompter("")
    lengths = {shown: len(whole.encode([ASKED], [shown])[0].ids) for shown in ((), (1,), (1, 0))}
    for kept, length in lengths.items():
        (prompt,) = prompter("", limit=length).encode([ASKED], [(1, 0)])
        assert (prompt.exemplars, len(prompt.ids)) == (kept, length)
    with pytest.raises(GoftError, match=r"takes 3 tokens, found a question of \d+ \('Third\?'"):
        prompter("", limit=3).encode([ASKED], [(1, 0)])


def test_an_answer_is_the_last_token_of_its_letter() -> None:
    tokenizer = tiny_llama()[1]
    found = [tokenizer.decode([token]) for token in answer_tokens(tokenizer)]
    assert found == [" A", " B", " C", " D"]


def test_a_tokenizer_without_the_letters_is_refused() -> None:
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "A": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = cast("PreTrainedTokenizerFast", PreTrainedTokenizerFast(tokenizer_object=core))
    with pytest.raises(GoftError, match=r"does not tell A, B, C, D apart"):
        answer_tokens(tokenizer)

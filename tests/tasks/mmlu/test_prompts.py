"""MMLU's prompts equal the published ones to the letter, and too long ones are shortened."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from goft_cli.config import Overflow
from goft_cli.system.errors import GoftError
from goft_cli.tasks.mmlu.questions import Prompter, Question, answer_tokens
from tests.support.multiple_choice import config, tiny_llama

SHOWN = [
    Question("us_foreign_policy", "First?", ["a", "b", "c", "d"], 2),
    Question("us_foreign_policy", "Second?", ["e", "f", "g", "h"], 0),
]
ASKED = Question("us_foreign_policy", "Third?", ["i", "j", "k", "l"], 3)
# As lm_eval and LLaMA-Factory v0.4.0 with `vanilla` write it.
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
OPENING = "The following are multiple choice questions (with answers) about us foreign policy."


def prompter(
    header: str, limit: int = 256, overflow: Overflow = Overflow.drop_exemplars
) -> Prompter:
    return Prompter(header, SHOWN, tiny_llama()[1], limit, overflow)


@pytest.mark.parametrize("task", ["mmlu/full", "mmlu/legacy"])
def test_the_prompt_is_that_of_the_protocol(task: str) -> None:
    header = config(task).header
    assert prompter(header).text(ASKED, (0, 1)) == OPENING + BODY
    zero = "\n\nThird?" + BODY.partition("Third?")[2]
    assert prompter(header).text(ASKED, ()) == OPENING + zero
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
        assert prompt.shortened == (kept != (1, 0))
    with pytest.raises(GoftError, match=r"3 tokens.*'Third\?'"):
        prompter("", limit=3).encode([ASKED], [(1, 0)])


def test_or_the_beginning_makes_room() -> None:
    whole = prompter("About {subject}.").encode([ASKED], [(1, 0)])[0]
    for limit in (len(whole.ids), len(whole.ids) - 1, 3):
        cut = prompter("About {subject}.", limit, Overflow.cut_left)
        (prompt,) = cut.encode([ASKED], [(1, 0)])
        assert prompt.ids.tolist() == whole.ids.tolist()[-limit:]
        assert prompt.exemplars == (1, 0)
        assert prompt.shortened == (limit < len(whole.ids))


def test_an_answer_is_what_its_letter_adds_to_the_prompt() -> None:
    tokenizer = tiny_llama()[1]
    found = [tokenizer.decode([token]) for token in answer_tokens(tokenizer)]
    assert found == [" A", " B", " C", " D"]


@pytest.mark.parametrize(
    ("words", "split"),
    [
        (["Answer", ":", "A"], pre_tokenizers.Whitespace()),  # B, C and D are unknown tokens
        ([*"Answer:ABCD "], pre_tokenizers.Split("", "isolated")),  # a blank is a token of its own
    ],
)
def test_a_tokenizer_without_a_token_for_each_letter_is_refused(
    words: list[str], split: pre_tokenizers.PreTokenizer
) -> None:
    vocabulary = {word: at for at, word in enumerate(dict.fromkeys(["[UNK]", *words]))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = split
    tokenizer = cast("PreTrainedTokenizerFast", PreTrainedTokenizerFast(tokenizer_object=core))
    with pytest.raises(GoftError, match="A, B, C, D"):
        answer_tokens(tokenizer)

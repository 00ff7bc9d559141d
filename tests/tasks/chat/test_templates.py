"""The assistant's tokens of a chat are found, with templates of the published shapes."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from transformers import PreTrainedTokenizerFast

from goft_cli.tasks.chat.rows import Turns
from goft_cli.tasks.chat.templates import Template, UnclearError, give_template, in_spans
from tests.support.chats import CHATML, LLAMA2, SHAPES, Shape, bytes_tokenizer, chats, template

TOKENIZER = bytes_tokenizer()
TALK = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Yo\n\n"},
    {"role": "user", "content": "\nAnd?"},
    {"role": "assistant", "content": " Bye 😀"},
]
SYSTEM = {"role": "system", "content": "Be brief."}


def ids_of(*tokens: str) -> set[int]:
    return {TOKENIZER.get_vocab()[token] for token in tokens}


def spoken(source: str, *, says: bool = False) -> PreTrainedTokenizerFast:
    """Return the shared tokenizer with this chat template."""
    TOKENIZER.chat_template = template(source, says=says)
    return TOKENIZER


def by_hand(shape: Shape, turns: Turns) -> tuple[str, list[bool]]:
    """Return a hand-written chat, and whether each token has a character that is scored."""
    pieces = shape.pieces(turns)
    text = "".join(text for text, _ in pieces)
    ends = list(accumulate(len(text) for text, _ in pieces))
    found = TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)
    mine = [flag for piece, flag in pieces for _ in piece]
    assert len(mine) == ends[-1] == len(text)
    return text, [any(mine[begin:end]) for begin, end in found["offset_mapping"]]


def by_template(tokenizer: PreTrainedTokenizerFast, turns: Turns) -> tuple[str, list[bool]]:
    text, spans = Template(tokenizer).answers(turns, last=False)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return text, in_spans(found["offset_mapping"], spans).tolist()


@pytest.mark.parametrize("says", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=40)
@given(turns=chats())
def test_the_mask_is_what_a_hand_written_chat_says(name: str, says: bool, turns: Turns) -> None:
    shape = SHAPES[name]
    assert by_template(spoken(shape.source, says=says), turns) == by_hand(shape, turns)


@pytest.mark.parametrize("name", SHAPES)
def test_the_text_is_the_libraries_own(name: str) -> None:
    tokenizer = spoken(SHAPES[name].source)
    text, _ = by_template(tokenizer, [SYSTEM, *TALK])
    assert text == tokenizer.apply_chat_template([SYSTEM, *TALK], tokenize=False)


@pytest.mark.parametrize("says", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_the_last_turn_alone(name: str, says: bool) -> None:
    chosen = Template(spoken(SHAPES[name].source, says=says))
    text, spans = chosen.answers(TALK, last=True)
    _, both = chosen.answers(TALK, last=False)
    assert spans == both[-1:]
    assert len(both) == 2
    assert "Bye" in text[slice(*spans[0])]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("SmolLM2 and Qwen2.5", "<|im_end|>"),
        ("Llama 3", "<|eot_id|>"),
        ("Gemma", "<end_of_turn>"),
        ("Llama 2", "</s>"),
        ("Mistral", "</s>"),
    ],
)
def test_the_token_that_ends_a_turn(name: str, end: str) -> None:
    tokenizer = spoken(SHAPES[name].source)
    assert Template(tokenizer).end_ids() == ids_of(end)


def test_to_a_turn_belongs_what_ends_it_whatever_comes_next() -> None:
    """Cohere ends a turn with two tokens; Phi 3 adds a token only at the end of the whole text."""
    two = CHATML.replace("<|im_end|>' }}E", "</s><|im_end|>' }}E").replace(
        "{% if add_generation", "{{ eos_token if not add_generation_prompt }}{% if add_generation"
    )
    chosen = Template(spoken(two))
    text, spans = chosen.answers(TALK, last=False)
    ends = "Yo\n\n</s><|im_end|>", " Bye 😀</s><|im_end|>"
    assert tuple(text[slice(*span)] for span in spans) == ends
    assert text.endswith("\n</s>")
    assert chosen.end_ids() == ids_of("<|im_end|>")


def test_the_last_turn_may_have_an_end_of_its_own() -> None:
    """The template of gpt-oss ends the last turn with another token."""
    other = CHATML.replace("'<|im_end|>' }}E", "('</s>' if loop.last else '<|im_end|>') }}E")
    chosen = Template(spoken(other))
    text, spans = chosen.answers(TALK, last=False)
    ends = "Yo\n\n<|im_end|>", " Bye 😀</s>"
    assert tuple(text[slice(*span)] for span in spans) == ends
    assert chosen.end_ids() == ids_of("<|im_end|>", "</s>")


FORGETS = CHATML.replace("in messages %}", "in messages[-2:] %}")


def test_turns_that_a_template_drops_are_not_scored() -> None:
    chosen = Template(spoken(FORGETS))
    text, spans = chosen.answers(TALK, last=False)
    assert [text[slice(*span)] for span in spans] == [" Bye 😀<|im_end|>"]
    with pytest.raises(UnclearError, match="leaves the assistant's words out"):
        chosen.answers([*TALK, TALK[0], *TALK[:1]], last=True)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (CHATML.replace("G{{ message.content", "{{ message.content | upper"), "rewrites turn 2"),
        (CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}"), "asks for an answer with"),
        (CHATML.replace("<|im_end|>", ""), "no answer could ever end"),
        (
            CHATML.replace("{{ '\n' }}", "{{ '\n' if 'Yo' in message.content else '' }}"),
            "rewrites turn 2",
        ),
        ("{{ raise_exception('no chats here') }}", "refuses it .no chats here"),
        ("{{ messages[0].content[0].text.nothing }}", "refuses it"),
    ],
)
def test_a_template_that_does_not_tell_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(UnclearError, match=sentence):
        by_template(spoken(source), TALK)


def test_two_parts_of_a_turn_are_not_its_last() -> None:
    source = template(CHATML, says=True).replace(
        "{{ message.content + '<|im_end|>' }}{% endgen",
        "{{ message.content }}{% endgeneration %}{% generation %}{{ '<|im_end|>' }}{% endgen",
    )
    TOKENIZER.chat_template = source
    assert by_template(TOKENIZER, TALK) == by_hand(SHAPES["SmolLM2 and Qwen2.5"], TALK)
    with pytest.raises(UnclearError, match="marks 4 parts"):
        Template(TOKENIZER).answers(TALK, last=True)


def test_marks_without_the_end_of_a_turn_are_remarked_upon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = template(CHATML, says=True)
    by_template(spoken(source), TALK)
    assert not caplog.text
    words = "{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    other = "{{ message.content }}{% endgeneration %}{{ '<|im_end|>' }}"
    assert words in source
    by_template(spoken(source.replace(words, other)), TALK)
    assert "no answer would ever end" in caplog.text


def test_a_tokenizer_without_template_gets_one_that_needs_no_new_token() -> None:
    tokenizer = bytes_tokenizer()
    give_template(tokenizer, None)
    text, spans = Template(tokenizer).answers([SYSTEM, *TALK], last=False)
    assert text.startswith("<|system|>\nBe brief.\n<|user|>\nHi there\n<|assistant|>\nYo\n\n</s>\n")
    assert [text[slice(*span)] for span in spans] == ["Yo\n\n</s>", " Bye 😀</s>"]
    assert Template(tokenizer).text(TALK[:1], asks=True).endswith("Hi there\n<|assistant|>\n")


def test_a_file_has_the_template(tmp_path) -> None:  # noqa: ANN001
    file = tmp_path / "own.jinja"
    file.write_text(template(LLAMA2, says=False), encoding="utf-8")
    tokenizer = bytes_tokenizer()
    give_template(tokenizer, str(file))
    assert Template(tokenizer).text(TALK[:1]) == "<s>[INST] Hi there [/INST]"


def test_tokens_that_claim_no_space_have_it_before_them() -> None:
    offsets = [(0, 2), (3, 5), (5, 5), (6, 7), (6, 7), (8, 9)]
    assert in_spans(offsets, [(2, 3)]).tolist() == [False, True, False, False, False, False]
    assert in_spans(offsets, [(3, 7)]).tolist() == [False, True, True, True, True, False]
    assert in_spans(offsets, []).sum() == 0
    assert in_spans([], [(0, 1)]).dtype == np.bool_

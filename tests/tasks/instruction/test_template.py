"""The prompt template and the cuts to length are those of LLaMA-Factory v0.4.0."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from goft_cli.system.errors import GoftError
from goft_cli.tasks.instruction.rows import cut, encode_answers, encode_prompts, query_of

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
WHOLE = PREAMBLE + "\n\n### Instruction:\nAdd {these}.\n2 and 3\n\n### Response:\n"


def test_the_input_follows_the_instruction_on_a_line_of_its_own() -> None:
    assert query_of("Add these.", "2 and 3") == "Add these.\n2 and 3"
    assert query_of("Add these.", "") == "Add these."
    assert query_of("", "2 and 3") == "\n2 and 3"


def test_a_prompt_reads_as_published(bytes_tokenizer: PreTrainedTokenizerBase) -> None:
    (ids,) = encode_prompts([query_of("Add {these}.", "2 and 3")], bytes_tokenizer)
    assert ids[0] == bytes_tokenizer.bos_token_id
    assert bytes_tokenizer.decode(ids[1:]) == WHOLE


def test_an_answer_ends(bytes_tokenizer: PreTrainedTokenizerBase) -> None:
    (ids,) = encode_answers(["five\n"], bytes_tokenizer)
    assert ids[-1] == bytes_tokenizer.eos_token_id
    assert bytes_tokenizer.decode(ids[:-1]) == "five\n"


def test_the_pieces_are_tokenized_one_by_one(words_tokenizer: PreTrainedTokenizerBase) -> None:
    (prompt,) = encode_prompts(["Hi"], words_tokenizer)
    (answer,) = encode_answers(["Yo"], words_tokenizer)
    text = "".join(words_tokenizer.convert_ids_to_tokens([*prompt, *answer]))
    question = "###▁Instruction:\nHi\n\n###▁Response:\n"
    pieces = [PREAMBLE.replace(" ", "▁"), "\n\n", question, "Yo"]
    assert text == "<s>" + "".join(f"▁{piece}" for piece in pieces) + "</s>"
    whole = words_tokenizer(PREAMBLE + "\n\n" + question, add_special_tokens=False)["input_ids"]
    assert prompt[1:] != whole


def test_a_tokenizer_needs_an_end(words_tokenizer: PreTrainedTokenizerFast) -> None:
    other = PreTrainedTokenizerFast(
        tokenizer_object=words_tokenizer.backend_tokenizer, bos_token="<s>", unk_token="<unk>"
    )
    with pytest.raises(GoftError, match="eos_token"):
        encode_answers(["Yo"], other)


lengths = st.integers(1, 5000)


@given(lengths, lengths, st.integers(2, 4096))
def test_what_is_cut_keeps_its_proportions(prompt: int, answer: int, length: int) -> None:
    first, second = cut([1] * prompt, [2] * answer, length)
    assert len(first) >= 1
    assert len(second) >= 1
    assert len(first) + len(second) == min(prompt + answer, length)
    # rounded down: at most one token less than the answer's share, but at least one token
    share = answer * min(1.0, length / (prompt + answer))
    assert len(second) == 1 or share - 1 - 1e-9 <= len(second) <= share + 1e-9


@given(lengths, lengths, st.integers(2, 4096))
@example(142, 58, 100)  # 29 tokens in integer arithmetic
def test_cuts_are_the_references(prompt: int, answer: int, length: int) -> None:
    kept = max(int(length * (answer / (prompt + answer))), 1)
    first, second = cut([1] * prompt, [2] * answer, length)
    if prompt + answer > length:
        assert (len(first), len(second)) == (length - kept, kept)
    else:
        assert (len(first), len(second)) == (prompt, answer)


def test_a_cut_takes_the_ends_away() -> None:
    assert cut([1, 2, 3, 4], [5, 6], 3) == ([1, 2], [5])

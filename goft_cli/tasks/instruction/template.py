"""Alpaca's template, as LLaMA-Factory v0.4.0 fills it in and cuts it to length.

The pieces are tokenized one by one and then put together. With a sentencepiece tokenizer that is
not the same as tokenizing the whole: every piece starts with the mark of a new word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from goft_cli.system.errors import GoftError
from goft_cli.tokens import text_start

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
SEPARATOR = "\n\n"
QUESTION = "### Instruction:\n{query}\n\n### Response:\n"
Ids = list[int]


def query_of(instruction: str, extra: str) -> str:
    """Join an instruction and its input; this template has no section of its own for the input."""
    return f"{instruction}\n{extra}" if extra else instruction


def encode_prompts(queries: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
    """Return the ids of everything that comes before the answer."""
    head = text_start(tokenizer)
    for piece in _encode([PREAMBLE, SEPARATOR], tokenizer):
        head += piece
    questions = [QUESTION.format(query=query) for query in queries]
    return [[*head, *ids] for ids in _encode(questions, tokenizer)]


def encode_answers(answers: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
    """Return the ids of the answers, each with the end of the text."""
    end = end_id(tokenizer)
    return [[*ids, end] for ids in _encode(answers, tokenizer)]


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the end of a text."""
    end = cast("int | None", tokenizer.eos_token_id)
    if end is None:
        raise GoftError(
            f"{tokenizer.name_or_path}: its tokenizer has no eos_token, so no answer could ever "
            "end",
            "choose a model that has one",
        )
    return end


def cut(prompt: Ids, answer: Ids, length: int) -> tuple[Ids, Ids]:
    """Cut both at their ends in proportion to their lengths, if together they are too long.

    Args:
        prompt: at least one id.
        answer: at least one id.
        length: at least 2.

    Returns:
        prompt and answer, at least one id of each; of a cut prompt the last words are missing,
        "### Response:" among them, as in the reference.
    """
    total = len(prompt) + len(answer)
    if total <= length:
        return prompt, answer
    # the quotient is rounded before the product, as in the reference: 100 * (58 / 200) is below 29
    kept = max(int(length * (len(answer) / total)), 1)
    return prompt[: length - kept], answer[:kept]


def _encode(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []

"""Prompts: a header, exemplars with their answers, a question that ends in `Answer:`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from goft_cli.errors import GoftError
from goft_cli.tasks.mmlu.questions import LETTERS, Question

Order = tuple[int, ...]
"""Which exemplars of a subject stand before a question, one after the other."""


@dataclass(frozen=True)
class Prompt:
    """A question as the model takes it.

    Attributes:
        ids: (length,) int32 token ids.
        exemplars: which ones it has room for.
    """

    ids: np.ndarray
    exemplars: Order


@dataclass(frozen=True)
class Prompter:
    """Writes and tokenizes the prompts of one subject.

    Attributes:
        header: opens each prompt, with `{subject}` for the subject's name; empty for none.
        exemplars: of the subject.
        tokenizer: of the model.
        limit: most tokens that the model takes.
    """

    header: str
    exemplars: Sequence[Question]
    tokenizer: PreTrainedTokenizerBase
    limit: int

    def text(self, question: Question, exemplars: Order) -> str:
        """Write a prompt; blank lines stand between its parts."""
        name = question.subject.replace("_", " ")
        opening = [self.header.replace("{subject}", name)] if self.header else []
        shown = [self.exemplars[index] for index in exemplars]
        solved = [f"{question_text(one)} {LETTERS[one.answer]}" for one in shown]
        return "\n\n".join([*opening, *solved, question_text(question)])

    def encode(self, questions: Sequence[Question], orders: Sequence[Order]) -> list[Prompt]:
        """Tokenize each prompt whole, leaving out last exemplars until the model can take it.

        Raises:
            GoftError: a question is too long by itself.
        """
        drafts = list(zip(questions, orders, strict=True))
        encoded = self._tokens([self.text(*draft) for draft in drafts])
        return [self._fitted(*draft, ids) for draft, ids in zip(drafts, encoded, strict=True)]

    def _fitted(self, question: Question, exemplars: Order, ids: list[int]) -> Prompt:
        while len(ids) > self.limit:
            if not exemplars:
                raise GoftError(
                    f"{question.subject}: the model takes {self.limit} tokens, found a question "
                    f"of {len(ids)} ({question.question[:40]!r}...); choose another model"
                )
            exemplars = exemplars[:-1]
            (ids,) = self._tokens([self.text(question, exemplars)])
        return Prompt(np.asarray(ids, dtype=np.int32), exemplars)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]


def question_text(question: Question) -> str:
    """Write the question, its lettered choices, and what asks for the answer."""
    options = zip(LETTERS, question.choices, strict=True)
    return "\n".join([question.question, *(f"{key}. {text}" for key, text in options), "Answer:"])


def answer_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token of each answer: the last one of its letter after a space.

    Raises:
        GoftError: the tokenizer does not tell the letters apart.
    """
    encoded = [tokenizer.encode(f" {letter}", add_special_tokens=False) for letter in LETTERS]
    tokens = [ids[-1] for ids in encoded if ids]
    if len(set(tokens)) != len(LETTERS):
        raise GoftError(
            f"the tokenizer does not tell {', '.join(LETTERS)} apart, found the tokens {encoded}; "
            "choose a model whose vocabulary has these letters"
        )
    return tokens

"""Prompts: a header, exemplars with their answers, a question that ends in `Answer:`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from goft_cli.config import Overflow
from goft_cli.system.errors import GoftError
from goft_cli.tasks.mmlu.questions import LETTERS, Question

ASKS = "Answer:"
"""How every prompt ends."""
Order = tuple[int, ...]
"""Which exemplars of a subject stand before a question, one after the other."""


@dataclass(frozen=True)
class Prompt:
    """A question as the model takes it.

    Attributes:
        ids: (length,) int32 token ids.
        exemplars: which ones it has room for; of a prompt cut on the left, all of them.
        shortened: whether the model could not take all of it.
    """

    ids: np.ndarray
    exemplars: Order
    shortened: bool


@dataclass(frozen=True)
class Prompter:
    """Writes and tokenizes the prompts of one subject.

    Attributes:
        header: opens each prompt, with `{subject}` for the subject's name; empty for none.
        exemplars: of the subject.
        tokenizer: of the model.
        limit: most tokens that the model takes.
        overflow: what gives way where a prompt has more.
    """

    header: str
    exemplars: Sequence[Question]
    tokenizer: PreTrainedTokenizerBase
    limit: int
    overflow: Overflow

    def text(self, question: Question, exemplars: Order) -> str:
        """Write a prompt; blank lines stand between its parts."""
        name = question.subject.replace("_", " ")
        opening = [self.header.replace("{subject}", name)] if self.header else []
        shown = [self.exemplars[index] for index in exemplars]
        solved = [f"{question_text(one)} {LETTERS[one.answer]}" for one in shown]
        return "\n\n".join([*opening, *solved, question_text(question)])

    def encode(self, questions: Sequence[Question], orders: Sequence[Order]) -> list[Prompt]:
        """Tokenize each prompt whole, then shorten those that the model cannot take.

        Either its last exemplars are left out one by one, or its first tokens.
        """
        drafts = list(zip(questions, orders, strict=True))
        encoded = self._tokens([self.text(*draft) for draft in drafts])
        return [self._fitted(*draft, ids) for draft, ids in zip(drafts, encoded, strict=True)]

    def _fitted(self, question: Question, exemplars: Order, ids: list[int]) -> Prompt:
        shortened = len(ids) > self.limit
        if self.overflow is Overflow.cut_left:
            ids = ids[-self.limit :]
        while len(ids) > self.limit:
            if not exemplars:
                raise GoftError(
                    f"{question.subject}: the model takes {self.limit} tokens, found a question "
                    f"of {len(ids)} ({question.question[:40]!r}...)",
                    "choose another model",
                )
            exemplars = exemplars[:-1]
            (ids,) = self._tokens([self.text(question, exemplars)])
        return Prompt(np.asarray(ids, dtype=np.int32), exemplars, shortened)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]


def question_text(question: Question) -> str:
    """Write the question, its lettered choices, and what asks for the answer."""
    options = zip(LETTERS, question.choices, strict=True)
    return "\n".join([question.question, *(f"{key}. {text}" for key, text in options), ASKS])


def answer_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token of each answer: what its letter adds to the end of a prompt."""
    texts = [ASKS, *(f"{ASKS} {letter}" for letter in LETTERS)]
    asks, *answered = tokenizer(texts, add_special_tokens=False)["input_ids"]
    added = [ids[len(asks) :] for ids in answered]
    if {len(ids) for ids in added} != {1} or len({ids[0] for ids in added}) != len(LETTERS):
        raise GoftError(
            f"the tokenizer does not tell {', '.join(LETTERS)} apart by one token after {ASKS!r}, "
            f"found the tokens {added}",
            "choose a model whose vocabulary has these letters",
        )
    return [token for (token,) in added]

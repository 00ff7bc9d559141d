"""The benchmark: prompts by subject, answers by the next token, averages by category."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from goft_cli.config import ExemplarOrder, MMLUConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.screen import counting
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores
from goft_cli.tasks.mmlu.next_token import (
    Answers,
    accuracy,
    answer_rows,
    averages,
    next_token_logits,
)
from goft_cli.tasks.mmlu.questions import (
    Order,
    Prompt,
    Prompter,
    Question,
    Shuffles,
    answer_tokens,
    by_subject,
    read_questions,
)
from goft_cli.tasks.tokens import Batch, Model, Tokenizer, tokenized, usable_positions

logger = logging.getLogger(__name__)

Questions = dict[str, list[Question]]
Prompts = dict[str, list[Prompt]]


class MMLU(Benchmark[MMLUConfig]):
    """Multiple choice by subject; the likeliest letter after `Answer:` is the model's answer."""

    def load(self) -> TaskData:
        """Read the few-shot examples and the questions of every subject."""
        data = read_questions(self.config)
        self._require_exemplars(data)
        return data

    def check_model(self, model: Model, tokenizer: Tokenizer, data: TaskData) -> None:
        """Refuse a model that cannot take the longest question, or has no letters for answers."""
        answer_tokens(tokenizer)
        self._prompts(data, 0, tokenizer, longest_text(model, tokenizer))

    def evaluate(
        self, model: Model, tokenizer: Tokenizer, data: TaskData, folder: Path, batch_size: int
    ) -> Scores:
        """Ask every question with each number of few-shot examples.

        Metrics such as `average_5_shot` and `stem_5_shot` are the share of right answers among
        all questions of the category; the breakdown has each subject's too.
        """
        questions, tokens = self._questions(data), answer_tokens(tokenizer)
        limit = longest_text(model, tokenizer)
        asked = {n: self._prompts(data, n, tokenizer, limit) for n in self.config.shots}
        self._report_shortened(asked, limit)
        total = sum(map(len, questions.values())) * len(asked)
        with counting(self.config.name, total) as advance:
            ask = partial(self._ask, model, tokens, batch_size, advance)
            answers = {
                shots: {
                    subject: answer_rows(questions[subject], given, ask(given))
                    for subject, given in prompts.items()
                }
                for shots, prompts in asked.items()
            }
        return self._scores(answers)

    def _require_exemplars(self, data: TaskData) -> None:
        """Refuse subjects with fewer few-shot examples than configured."""
        wanted = max(self.config.shots)
        # A loader that drops rows uses the remaining ones: its five shots are four.
        least = min(wanted, 1) if self.config.drop_first_rows else wanted
        shown = self._exemplars(data)
        counts = {subject: len(shown.get(subject, [])) for subject in self._questions(data)}
        lacking = {subject: found for subject, found in counts.items() if found < least}
        if lacking:
            subject, found = next(iter(lacking.items()))
            raise GoftError(
                f"task {self.config.name}: {self.config.train_split} has {found} of the {wanted} "
                f"few-shot examples of {subject} that are asked for",
                f"add some, or pass shots={min(lacking.values())}",
            )

    def _report_shortened(self, asked: Mapping[int, Prompts], limit: int) -> None:
        for shots, prompts in asked.items():
            short = [prompt.shortened for given in prompts.values() for prompt in given]
            if any(short):
                logger.warning(
                    "%s: %d of %d prompts with %d few-shot examples have more than the %d tokens "
                    "that the model takes and are shortened (overflow=%s)",
                    *(self.config.name, sum(short), len(short), shots, limit),
                    self.config.overflow.value,
                )

    def _questions(self, data: TaskData) -> Questions:
        return from_rows(data.splits[self.config.headline_split])

    def _exemplars(self, data: TaskData) -> Questions:
        return from_rows(data.splits[self.config.train_split])

    def _prompts(self, data: TaskData, shots: int, tokenizer: Tokenizer, limit: int) -> Prompts:
        exemplars, shuffled = self._exemplars(data), ExemplarOrder.shuffled
        draw = Shuffles(self.config.shuffle_seed).draw
        order = draw if self.config.exemplar_order is shuffled else range
        header, overflow = self.config.header, self.config.overflow
        by_name = self._questions(data)
        questions = [question for asked in by_name.values() for question in asked]
        shown = {subject: exemplars.get(subject, []) for subject in by_name}
        orders = [tuple(order(len(shown[one.subject]))[:shots]) for one in questions]
        prompters = {
            subject: Prompter(header, given, tokenizer, limit, overflow)
            for subject, given in shown.items()
        }
        prompts = iter(encode(prompters, questions, orders))
        return {subject: list(islice(prompts, len(asked))) for subject, asked in by_name.items()}

    def _ask(
        self,
        model: Model,
        tokens: Sequence[int],
        batch_size: int,
        advance: Callable[[int], None],
        prompts: Sequence[Prompt],
    ) -> torch.Tensor:
        """Return (questions, letters) logits of one subject; prompts share their prefix."""
        cache_prefix = self.config.cache_prefix
        groups: dict[tuple[Order, bool] | None, list[int]] = {}
        for row, prompt in enumerate(prompts):
            alike = (prompt.exemplars, prompt.shortened) if cache_prefix else None
            groups.setdefault(alike, []).append(row)
        logits = torch.empty(len(prompts), len(tokens))
        for rows in groups.values():
            logits[rows] = next_token_logits(
                model,
                [prompts[row].ids for row in rows],
                tokens,
                batch_size=batch_size,
                cache_prefix=cache_prefix,
                advance=advance,
            )
        return logits

    def _scores(self, answers: Mapping[int, Mapping[str, Answers]]) -> Scores:
        metrics: dict[str, float] = {}
        breakdown: dict[str, dict[str, float]] = {}
        for shots, by_name in answers.items():
            found = averages(by_name, self.config.categories)
            metrics |= {f"{name}_{shots}_shot": value for name, value in found.items()}
            subjects = {subject: accuracy(given) for subject, given in by_name.items()}
            breakdown[f"{shots}_shot"] = found | subjects
        predictions = [
            {"shots": shots, **one}
            for shots, by_name in answers.items()
            for given in by_name.values()
            for one in given
        ]
        return Scores(metrics, predictions, breakdown)


def from_rows(rows: Dataset) -> Questions:
    """Return the questions by subject."""
    return by_subject(Question(**row) for row in rows.to_list())


def encode(
    prompters: Mapping[str, Prompter], questions: Sequence[Question], orders: Sequence[Order]
) -> list[Prompt]:
    """Tokenize the prompts of all subjects, each with its own prompter, or read cached ones."""

    def prompts(_: Batch, indices: list[int]) -> dict[str, Any]:
        found: list[Prompt] = []
        for subject, places in groupby(indices, key=lambda index: questions[index].subject):
            drafts = [(questions[index], orders[index]) for index in places]
            found += prompters[subject].encode(*zip(*drafts, strict=True))
        return {
            "ids": [prompt.ids for prompt in found],
            "shown": [len(prompt.exemplars) for prompt in found],
            "shortened": [prompt.shortened for prompt in found],
        }

    drafts = zip(map(vars, questions), orders, strict=True)
    rows = Dataset.from_dict({"draft": list(map(json.dumps, drafts))})
    one = next(iter(prompters.values()))
    options = {
        "header": one.header,
        "limit": one.limit,
        "overflow": one.overflow.value,
        "exemplars": {name: list(map(vars, each.exemplars)) for name, each in prompters.items()},
    }
    encoded = tokenized(rows, prompts, tokenizer=one.tokenizer, options=options, with_indices=True)
    table: Any = encoded.with_format("arrow")[:]
    ids = table["ids"].combine_chunks()
    pieces = np.split(ids.values.to_numpy(), ids.offsets.to_numpy()[1:-1])
    noted = zip(table["shown"].to_pylist(), table["shortened"].to_pylist(), strict=True)
    return [
        Prompt(piece, order[:shown], shortened)
        for piece, order, (shown, shortened) in zip(pieces, orders, noted, strict=True)
    ]


def longest_text(model: Model, tokenizer: Tokenizer) -> int:
    """Return the most tokens that the model takes, by its configuration or its tokenizer's."""
    return usable_positions(model) or tokenizer.model_max_length


__all__ = ["MMLU"]

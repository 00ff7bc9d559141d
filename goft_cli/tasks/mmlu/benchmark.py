"""The benchmark: prompts by subject, answers by the next token, averages by category."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import ExemplarOrder, MMLUConfig
from goft_cli.errors import GoftError
from goft_cli.positions import usable_positions
from goft_cli.progress import counting
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores
from goft_cli.tasks.mmlu.answers import Answers, accuracy, averages, describe
from goft_cli.tasks.mmlu.legacy import Shuffles
from goft_cli.tasks.mmlu.next_token import next_token_logits
from goft_cli.tasks.mmlu.prompts import Order, Prompt, Prompter, answer_tokens
from goft_cli.tasks.mmlu.questions import Question, by_subject, read_questions

Questions = dict[str, list[Question]]
Prompts = dict[str, list[Prompt]]


class MMLU(Benchmark[MMLUConfig]):
    """Multiple choice by subject; the likeliest letter after `Answer:` is the model's answer."""

    def load(self) -> TaskData:
        """Read the exemplars and the questions of every subject."""
        data = read_questions(self.config)
        shown = self._exemplars(data)
        lacking = [subject for subject in self._questions(data) if subject not in shown]
        if lacking and max(self.config.shots) > 0:
            raise GoftError(
                f"task {self.config.name}: no exemplars of {', '.join(lacking)} in "
                f"{self.config.train_split}; add them, or pass shots=0"
            )
        return data

    def check_model(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TaskData
    ) -> None:
        """Refuse a model that takes less than the longest question, or has no letters for answers.

        Raises:
            GoftError: names the question, or the tokens.
        """
        answer_tokens(tokenizer)
        self._prompts(data, 0, tokenizer, longest_text(model, tokenizer))

    def evaluate(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: TaskData,
        folder: Path,
        batch_size: int,
    ) -> Scores:
        """Ask every question with each number of exemplars.

        Returns:
            metrics such as `average_5_shot` and `stem_5_shot`: the share of right answers among
            all questions of the category; broken down, each subject's too.
        """
        questions, tokens = self._questions(data), answer_tokens(tokenizer)
        limit = longest_text(model, tokenizer)
        asked = {n: self._prompts(data, n, tokenizer, limit) for n in self.config.shots}
        total = sum(map(len, questions.values())) * len(asked)
        with counting(self.config.name, total) as advance:
            ask = partial(self._ask, model, tokens, batch_size, advance)
            answers = {
                shots: {
                    subject: describe(questions[subject], given, ask(given))
                    for subject, given in prompts.items()
                }
                for shots, prompts in asked.items()
            }
        return self._scores(answers)

    def _questions(self, data: TaskData) -> Questions:
        rows = data.splits[self.config.headline_split].to_list()
        return by_subject(Question(**row) for row in rows)

    def _exemplars(self, data: TaskData) -> Questions:
        rows = data.splits[self.config.train_split].to_list()
        return by_subject(Question(**row) for row in rows)

    def _prompts(
        self, data: TaskData, shots: int, tokenizer: PreTrainedTokenizerBase, limit: int
    ) -> Prompts:
        exemplars, shuffles = self._exemplars(data), Shuffles(self.config.shuffle_seed)
        prompts: Prompts = {}
        for subject, questions in self._questions(data).items():
            shown = exemplars.get(subject, [])
            orders = [self._order(len(shown), shuffles)[:shots] for _ in questions]
            prompter = Prompter(self.config.header, shown, tokenizer, limit)
            prompts[subject] = prompter.encode(questions, orders)
        return prompts

    def _order(self, available: int, shuffles: Shuffles) -> Order:
        if self.config.exemplar_order is ExemplarOrder.shuffled:
            return tuple(shuffles.draw(available))
        return tuple(range(available))

    def _ask(
        self,
        model: PreTrainedModel,
        tokens: Sequence[int],
        batch_size: int,
        advance: Callable[[int], None],
        prompts: Sequence[Prompt],
    ) -> torch.Tensor:
        """Return (questions, letters) logits of one subject; what begins alike goes together."""
        cache_prefix = self.config.cache_prefix
        groups: dict[Order, list[int]] = {}
        for row, prompt in enumerate(prompts):
            groups.setdefault(prompt.exemplars if cache_prefix else (), []).append(row)
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


def longest_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens the model takes, by its configuration or else its tokenizer's."""
    return usable_positions(model) or tokenizer.model_max_length

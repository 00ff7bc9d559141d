"""Vicuna-Eval (FastChat's llm_judge): open questions, generated answers, ratings from 1 to 10."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from goft_cli.config import DatasetConfig, VicunaConfig
from goft_cli.data.formats import Layout
from goft_cli.data.sources import read_splits
from goft_cli.system.errors import GoftError
from goft_cli.system.files import note
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores
from goft_cli.tasks.generation import stop_tokens
from goft_cli.tasks.tokens import Model, Tokenizer
from goft_cli.tasks.vicuna.answers import generate_answers, make_prompts
from goft_cli.tasks.vicuna.client import ChatClient
from goft_cli.tasks.vicuna.judging import (
    comparison_scores,
    judge_answers,
    make_requests,
    opponent_ratings,
    rated,
    rating_scores,
    read_judgments,
)
from goft_cli.tasks.vicuna.questions import (
    Question,
    Records,
    Row,
    as_rows,
    checked_questions,
    from_rows,
    read_answers,
)
from goft_cli.tasks.vicuna.rubric import OWN, read_rubric

logger = logging.getLogger(__name__)


class Vicuna(Benchmark[VicunaConfig]):
    """The model generates answers, and a judge behind an endpoint rates them, if configured."""

    def load(self) -> TaskData:
        """Read the questions, and check all that the judge will need before a model is loaded."""
        config = self.config
        if config.data_dir is None and config.dataset is None:
            raise GoftError(
                f"task {config.name}: the package does not contain the questions",
                "pass task.data_dir=DIR, the folder with FastChat's question.jsonl "
                "(fastchat/llm_judge/data/vicuna_bench)",
            )
        (split,) = config.eval_splits
        dataset = config.dataset or DatasetConfig()
        tables, provenance = read_splits(dataset, [split], config.data_dir, Layout())
        questions = checked_questions(tables[split])
        if config.answers is not None:
            require_answers(read_answers(config.answers), questions, config.answers)
        if config.judge.base_url is not None:
            provenance |= {"judge": self._rehearse(questions)}
        return TaskData({split: as_rows(questions)}, provenance)

    def check_model(self, model: Model, tokenizer: Tokenizer, data: TaskData) -> None:
        """Refuse a model without room for question and answer, or without an end-of-text token."""
        (rows,) = data.splits.values()
        if self.config.answers is None:
            make_prompts(model, tokenizer, from_rows(rows), self.config)
            stop_tokens(model, tokenizer)

    def evaluate(
        self, model: Model, tokenizer: Tokenizer, data: TaskData, folder: Path, batch_size: int
    ) -> Scores:
        """Answer, rate, count; both files in `folder` are resumed after an interruption."""
        config = self.config
        (rows,) = data.splits.values()
        questions = from_rows(rows)
        note(folder, self._file("answers"), self._file("judgments"))
        if config.answers is not None:
            answers = read_answers(config.answers)
        else:
            records, model_id = Records(folder / self._file("answers")), str(folder)
            answers = generate_answers(
                model,
                tokenizer,
                questions,
                config,
                records,
                model_id=model_id,
                batch_size=batch_size,
            )
        judgments: dict[int, Row] = {}
        metrics: dict[str, float] = {}
        if config.judge.base_url is not None:
            rubric, records = read_rubric(config.judge), Records(folder / self._file("judgments"))
            requests = make_requests(questions, answers, rubric, config.judge.model)
            judgments = judge_answers(requests, ChatClient(config.judge), records, str(folder))
            metrics = self._rate(questions, judgments)
        metrics["answered"] = sum(bool(answers[q.question_id]) for q in questions)
        return Scores(metrics, predictions(questions, answers, judgments))

    def _rehearse(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Prepare all requests without sending any; return the judge's name and prompts."""
        judge = self.config.judge
        rubric = read_rubric(judge)
        make_requests(questions, {q.question_id: "" for q in questions}, rubric, judge.model)
        ChatClient(judge)
        if self.config.against is not None:
            read_judgments(self.config.against, self._file("judgments"))
        if judge.prompts == OWN:
            logger.warning(
                "the judge gets goft's own prompts, so ratings cannot be compared with published "
                "ones; pass FastChat's judge_prompts.jsonl with task.judge.prompts=FILE"
            )
        return {
            "base_url": judge.base_url,
            "model": judge.model,
            "prompts": judge.prompts,
            "prompt_names": [rubric.general.name, rubric.referenced.name],
        }

    def _file(self, content: str) -> str:
        """Return a file name with the benchmark's name."""
        return f"{content}.{self.config.name.replace('/', '-')}.jsonl"

    def _rate(
        self, questions: Sequence[Question], judgments: Mapping[int, Row]
    ) -> dict[str, float]:
        scores, against = rating_scores(questions, judgments), self.config.against
        if against is None:
            return scores
        rows = read_judgments(against, self._file("judgments"))
        theirs = opponent_ratings(rows, questions, judgments, against)
        return scores | comparison_scores(rated(judgments), theirs)


def require_answers(answers: Mapping[int, str], questions: Sequence[Question], path: str) -> None:
    """Refuse a file that leaves questions unanswered."""
    missing = [str(q.question_id) for q in questions if q.question_id not in answers]
    if missing:
        raise GoftError(
            f"task.answers={path}: no answer to {len(missing)} of {len(questions)} questions, "
            f"number {missing[0]} the first",
            "pass a file made from the same questions",
        )


def predictions(
    questions: Sequence[Question], answers: Mapping[int, str], judgments: Mapping[int, Row]
) -> list[dict[str, Any]]:
    """Return each question with its answer and what the judge said of it, if anything."""
    rows = [judgments.get(question.question_id, {}) for question in questions]
    return [
        {
            "question_id": question.question_id,
            "category": question.category,
            "question": question.text,
            "answer": answers[question.question_id],
            "rating": row.get("score"),
            "judgment": row.get("judgment"),
            "judge": row.get("judge"),
        }
        for question, row in zip(questions, rows, strict=True)
    ]


__all__ = ["Vicuna"]

"""Extractive question answering: spans of a context, and the files for SQuAD's own scorer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, cast

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import DataCollatorWithPadding

from goft_cli.config import QuestionAnsweringConfig
from goft_cli.data.formats import Layout
from goft_cli.data.own import count_left_out, without_gaps
from goft_cli.data.sources import read_data
from goft_cli.data.squad import CELLS, read_document, with_answers, with_ids, with_names
from goft_cli.data.table import Table
from goft_cli.tasks.base import (
    Arrays,
    Collator,
    RowScorer,
    Split,
    Task,
    TaskData,
    Tensors,
    chunks,
)
from goft_cli.tasks.metrics import SQUAD, squad
from goft_cli.tasks.question_answering.rows import TEXTS, checked_rows
from goft_cli.tasks.question_answering.windows import (
    Answer,
    Best,
    best_answers,
    encode,
    largest,
    read_windows,
    unfit_questions,
)
from goft_cli.tasks.tokens import AnyModel, Tokenizer

LAYOUT = Layout(document=read_document)
PAIRED_ROWS = 1000
"""Rows whose starts and ends are paired at a time: 20 of each make 400 pairs of a window."""


class QuestionAnswering(Task[QuestionAnsweringConfig, Tokenizer]):
    """Answers a question with a span of its context."""

    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    label_names: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; each question has at least one answer.

        Of the user's own rows, those with an empty cell are left out.
        """
        tables, provenance = read_data(self.config, names, LAYOUT, with_ids)
        if self.config.own is not None:
            whole = {name: without_gaps(table, CELLS) for name, table in tables.items()}
            provenance |= count_left_out(whole)
            tables = {name: with_answers(table) for name, table in whole.items()}
        splits = {name: checked_rows(table, answered=True) for name, table in tables.items()}
        return TaskData(splits, provenance)

    @property
    def layout(self) -> Layout:
        """SQuAD's JSON, or a table."""
        return LAYOUT

    @property
    def asked(self) -> Sequence[str]:
        """The question and its context."""
        return TEXTS

    def unlabelled(self, table: Table) -> Dataset:
        """Return questions and contexts; answers are left out."""
        return checked_rows(with_names(table) if self.config.own else table, answered=False)

    def unfit_rows(self, rows: Dataset, model: AnyModel, processor: Tokenizer) -> dict[int, str]:
        """Return the questions that leave no room for their context."""
        return unfit_questions(rows, processor, self.config)

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
        """Cut each row into one or several overlapping windows."""
        return encode(rows, processor, self.config)

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its own longest window."""
        return DataCollatorWithPadding(processor)

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return indices and values of each window's largest start logits, then end logits."""
        count = self.config.n_best_size
        found = [largest(logits, batch["attention_mask"], count) for logits in outputs]
        return tuple(part for pair in found for part in pair)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute exact match and F1, in percent."""
        predictions = [best.text for best, *_ in self._answers(outputs, split)]
        references = [answers["text"] for answers in split.rows["answers"]]
        return SQUAD.compute(predictions, references)

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return a function that averages the scores of rows, in percent."""
        references = [answers["text"] for answers in split.rows["answers"]]
        pairs = zip(self._answers(outputs, split), references, strict=True)
        each = [squad([best.text], [true])[self.config.headline] for (best, *_), true in pairs]
        return lambda rows: float(np.array(each)[rows].mean())

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"text", "probability"}` per row: the answer, and its share among the best."""
        best = [described(answers)[0] for answers in self._answers(outputs, split)]
        return [{"text": one["text"], "probability": one["probability"]} for one in best]

    def files(self, outputs: Arrays, split: Split) -> dict[str, str]:
        """Return `predictions.json`, text by id, and `nbest_predictions.json`."""
        found = dict(zip(split.rows["id"], self._answers(outputs, split), strict=True))
        contents = {
            "predictions.json": {name: answers[0].text for name, answers in found.items()},
            "nbest_predictions.json": {name: described(answers) for name, answers in found.items()},
        }
        return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}

    def model_options(self) -> dict[str, Any]:
        """Return the two outputs per token, whatever the model was last trained for."""
        return {"num_labels": 2}

    def _answers(self, outputs: Arrays, split: Split) -> Iterator[list[Answer]]:
        """Yield the best answers of each row; windows are paired for some rows at a time."""
        inputs = cast("Dataset", split.inputs)
        sources = np.asarray(inputs.with_format("numpy")["row"])
        for rows in chunks(len(split.rows), PAIRED_ROWS):
            begin, end = np.searchsorted(sources, [rows.start, rows.stop])
            windows = read_windows(inputs.select(range(begin, end)))
            yield from best_answers(
                cast(Best, tuple(part[begin:end] for part in outputs)),
                replace(windows, rows=windows.rows - rows.start),
                list(split.rows.select(rows)["context"]),
                n_best_size=self.config.n_best_size,
                longest=self.config.max_answer_length,
            )


def described(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return a row's best answers, the best first, with the softmax of their scores."""
    scores = np.array([answer.start_logit + answer.end_logit for answer in answers])
    shares = np.exp(scores - scores[0])
    pairs = zip(answers, (shares / shares.sum()).tolist(), strict=True)
    return [asdict(answer) | {"probability": share} for answer, share in pairs]


__all__ = ["QuestionAnswering"]

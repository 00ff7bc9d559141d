"""Extractive question answering: a span of a context, and the files that SQuAD's scorer reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from datasets import Dataset
from transformers import DataCollatorWithPadding

from goft_cli.config import QuestionAnsweringConfig
from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout
from goft_cli.data.sources import read_splits
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Arrays, Collator, Split, Task, TaskData
from goft_cli.tasks.metrics import SQUAD
from goft_cli.tasks.question_answering.rows import checked_rows, read_document
from goft_cli.tasks.question_answering.windows import Answer, best_answers, encode, read_windows
from goft_cli.tasks.tokens import Tokenizer

LAYOUT = Layout(document=read_document)


class QuestionAnswering(Task[QuestionAnsweringConfig, Tokenizer]):
    """A question and a context in, a span of the context out."""

    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    label_names: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; each question has at least one answer."""
        config = self.config
        tables, provenance = read_splits(config.dataset, names, config.data_dir, LAYOUT)
        splits = {name: checked_rows(table, answered=True) for name, table in tables.items()}
        return TaskData(splits, provenance)

    def read(self, path: Path) -> Dataset:
        """Read SQuAD's JSON, or a table with question and context; answers are left out."""
        return checked_rows(read_file(path, LAYOUT), answered=False)

    def read_text(self, text: str) -> Dataset:
        """Refuse: a question is nothing without its context."""
        raise GoftError(
            f"task {self.config.name} takes question and context, found one text",
            "pass input=FILE with these columns",
        )

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
        """Cut each row into one window or several that overlap."""
        return encode(rows, processor, self.config)

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its own longest window."""
        return DataCollatorWithPadding(processor)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute exact match and F1, in percent, of (windows, longest) start and end logits."""
        predictions = [best.text for best, *_ in self._answers(outputs, split)]
        references = [answers["text"] for answers in split.rows["answers"]]
        return SQUAD.compute(predictions, references)

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

    def _answers(self, outputs: Arrays, split: Split) -> list[list[Answer]]:
        start, end = outputs
        return best_answers(
            (start, end),
            read_windows(cast("Dataset", split.inputs)),
            list(split.rows["context"]),
            n_best_size=self.config.n_best_size,
            max_answer_length=self.config.max_answer_length,
        )


def described(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return a row's best answers, the best first, with the softmax of their scores."""
    scores = np.array([answer.start_logit + answer.end_logit for answer in answers])
    shares = np.exp(scores - scores[0])
    pairs = zip(answers, (shares / shares.sum()).tolist(), strict=True)
    return [asdict(answer) | {"probability": share} for answer, share in pairs]


__all__ = ["QuestionAnswering"]

"""Sequence classification and regression: GLUE and anything of its shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from transformers import DataCollatorWithPadding

from goft_cli.config import TextClassificationConfig
from goft_cli.data.formats import Layout
from goft_cli.data.own import remarks, without_gaps
from goft_cli.data.sources import read_data
from goft_cli.data.table import Table, checked_rows, label_spelling, refuse_header
from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.base import Arrays, Collator, Split, Task, TaskData, class_options, described
from goft_cli.tasks.tokens import Batch, Tokenizer, tokenized, usable_length

logger = logging.getLogger(__name__)

# Where heads read their dropout: DeBERTa; BERT, RoBERTa, ELECTRA and others.
DROPOUT_KEYS = ("cls_dropout", "classifier_dropout")


class TextClassification(Task[TextClassificationConfig, Tokenizer]):
    """One or two texts in, one label out; without labels, one number."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

    def __init__(self, config: TextClassificationConfig) -> None:
        super().__init__(config)
        if not 1 <= len(config.text_columns) <= 2:
            raise GoftError(
                f"task.text_columns names {len(config.text_columns)} columns, expected one or two"
            )
        classes = len(config.labels)
        metrics.check_names(config.metrics, headline=config.headline, classes=classes)

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read, check and convert the named splits; labels become ids."""
        config = self.config
        layout = replace(self.layout, skip_short_rows=config.skip_short_rows)
        tables, provenance = read_data(config, names, layout)
        wanted = [*config.text_columns, config.label_column]
        if config.own is not None:
            tables = {name: without_gaps(table, wanted) for name, table in tables.items()}
        left_out = {name: table.left_out for name, table in tables.items() if table.left_out}
        for name, count in left_out.items():
            logger.warning("%s: %d rows with empty or too few fields are left out", name, count)
        if config.labels and config.train_split in tables:
            config = replace(config, labels=label_spelling(tables[config.train_split], config))
        if config.labels != self.config.labels:
            provenance |= {"labels": config.labels}
        if left_out:
            provenance |= {"left_out": left_out}
        rows = {name: checked_rows(table, config, labelled=True) for name, table in tables.items()}
        if config.own is not None and config.train_split in rows:
            for remark in remarks(rows, config.text_columns, config.strata):
                logger.warning(remark)
        return TaskData(rows, provenance)

    def respelled(self, provenance: Mapping[str, Any]) -> TextClassification:
        """Return this task with its labels as its training data spells them."""
        labels = provenance.get("labels", self.config.labels)
        return TextClassification(replace(self.config, labels=labels))

    @property
    def layout(self) -> Layout:
        """Columns of files without a header, and what files call a column."""
        config = self.config
        return Layout(config.raw_columns, config.text_columns, config.column_aliases)

    @property
    def asked(self) -> Sequence[str]:
        """One text, or two."""
        return self.config.text_columns

    @property
    def line_column(self) -> str | None:
        """The text, if there is only one."""
        columns = self.config.text_columns
        return columns[0] if len(columns) == 1 else None

    def unlabelled(self, table: Table) -> Dataset:
        """Return the texts; labels, if any, are left out."""
        refuse_header(table, self.config)
        return checked_rows(table, self.config, labelled=False)

    def encode(self, rows: Dataset, processor: Tokenizer) -> Dataset:
        """Tokenize without padding; the longer text of a pair is cut first."""
        config = self.config
        length = usable_length(config.max_length, processor)

        def tokenize(batch: Batch) -> dict[str, Any]:
            first, *second = (batch[name] for name in config.text_columns)
            pair = second[0] if second else None
            encoded = dict(processor(first, pair, truncation=True, max_length=length))
            if config.label_column in batch:
                encoded["labels"] = batch[config.label_column]
            return encoded

        read = {"columns": list(config.text_columns), "label": config.label_column}
        return tokenized(rows, tokenize, tokenizer=processor, options=read | {"length": length})

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its own longest row."""
        return DataCollatorWithPadding(processor)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the configured metrics of (rows, labels) logits, or (rows, 1) numbers."""
        logits = np.asarray(outputs)
        predictions = logits.argmax(axis=-1) if self.config.labels else logits.squeeze(-1)
        references = np.asarray(split.rows[self.config.label_column])
        return metrics.compute(self.config.metrics, predictions, references)

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"value"}` per row, or `{"label", "score", "probabilities"}`."""
        logits = np.asarray(outputs, dtype=np.float64)
        if not self.config.labels:
            return [{"value": float(value)} for value in logits.squeeze(-1)]
        return described(_softmax(logits), self.config.labels)

    def model_options(self) -> dict[str, Any]:
        """Return config entries; the head's dropout goes under each name that heads read."""
        labels, dropout = self.config.labels, self.config.classifier_dropout
        regression: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"}
        options = class_options(labels) if labels else regression
        return options if dropout is None else options | dict.fromkeys(DROPOUT_KEYS, dropout)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Turn (rows, labels) logits into probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)

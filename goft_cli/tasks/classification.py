"""Texts with one label, a set of labels or a number: GLUE and anything of its shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from scipy.special import expit
from transformers import DataCollatorWithPadding

from goft_cli.config import TextClassificationConfig
from goft_cli.config.choices import ClassWeights
from goft_cli.data.formats import Layout
from goft_cli.data.own import count_left_out, remarks, without_gaps
from goft_cli.data.sources import read_data
from goft_cli.data.table import Table, checked_rows, label_spelling, refuse_header
from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.base import (
    Arrays,
    Collator,
    RowScorer,
    Split,
    Task,
    TaskData,
)
from goft_cli.tasks.classes import (
    balanced_weights,
    by_class,
    class_options,
    described,
    majority,
    usual_labels,
)
from goft_cli.tasks.tokens import Batch, Tokenizer, tokenized, usable_length

LIKELY = 0.5
"""Smallest probability with which a label is in a row's predicted set."""
logger = logging.getLogger(__name__)

# Configuration keys of the head's dropout: DeBERTa's; that of BERT, RoBERTa, ELECTRA and others.
DROPOUT_KEYS = ("cls_dropout", "classifier_dropout")


class TextClassification(Task[TextClassificationConfig, Tokenizer]):
    """Predicts of one or two texts a label or a set of labels; without labels, a number."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

    def __init__(self, config: TextClassificationConfig) -> None:
        super().__init__(config)
        if not 1 <= len(config.text_columns) <= 2:
            raise GoftError(
                f"task.text_columns names {len(config.text_columns)} columns, expected one or two"
            )
        metrics.check_names(config.metrics, headline=config.headline, target=config.target)

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read, check and convert the named splits; labels become ids."""
        config, column = self.config, self.config.label_column
        layout = replace(self.layout, skip_short_rows=config.skip_short_rows)
        tables, provenance = read_data(config, names, layout)
        # a row of a set may have no label at all
        wanted = [*config.text_columns, *([column] * (not config.multi_label))]
        if config.own is not None:
            tables = {name: without_gaps(table, wanted) for name, table in tables.items()}
        provenance |= count_left_out(tables)
        if config.labels and config.train_split in tables:
            config = replace(config, labels=label_spelling(tables[config.train_split], config))
        if config.labels != self.config.labels:
            provenance |= {"labels": config.labels}
        rows = {name: checked_rows(table, config, labelled=True) for name, table in tables.items()}
        if config.own is not None and config.train_split in rows:
            for remark in remarks(rows, config.text_columns, config.strata):
                logger.warning(remark)
            if config.multi_label and max(map(len, rows[config.train_split][column])) < 2:
                logger.warning("no row has two labels: expected lists, or ; between labels")
        return TaskData(rows, provenance)

    def respelled(self, provenance: Mapping[str, Any]) -> TextClassification:
        """Return this task with its labels as its training data spells them."""
        labels = provenance.get("labels", self.config.labels)
        return TextClassification(replace(self.config, labels=labels))

    @property
    def layout(self) -> Layout:
        """Columns of files without a header, and names of columns in files."""
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
                encoded["labels"] = self._targets(batch[config.label_column])
            return encoded

        read = {"columns": list(config.text_columns), "label": config.label_column}
        read |= {"sets of": config.labels} if config.multi_label else {}
        return tokenized(rows, tokenize, tokenizer=processor, options=read | {"length": length})

    def collate(self, processor: Tokenizer) -> Collator:
        """Pad each batch to its own longest row."""
        return DataCollatorWithPadding(processor)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the configured metrics of (rows, labels) logits, or (rows, 1) numbers."""
        return metrics.compute(self.config.metrics, *self._answers(outputs, split))

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return what computes the headline on some rows."""
        return metrics.on_rows(self.config.headline, *self._answers(outputs, split))

    def by_class(self, outputs: Arrays, split: Split) -> dict[str, Any] | None:
        """Return scores and confusions of (rows, labels) logits; None for a regression."""
        if not self.config.labels:
            return None
        return by_class(self.config.labels, *self._answers(outputs, split))

    def constant(self, train: Dataset, split: Split) -> tuple[str, Arrays]:
        """Return the most frequent label of the training rows, or the mean of their targets."""
        labels, targets = self.config.labels, train[self.config.label_column]
        if not labels:
            mean = float(np.mean(targets))
            return f"the mean {mean:.4g}", np.full((len(split.rows), 1), mean)
        if self.config.multi_label:
            usual, outputs = usual_labels(np.asarray(self._targets(targets)), len(split.rows))
            return ";".join(np.array(labels)[usual]) or "no label", outputs
        most, outputs = majority(targets, len(labels), len(split.rows))
        return labels[most], outputs

    def class_weights(self, train: Dataset) -> np.ndarray | None:
        """Return the (labels,) weights of the training rows' labels."""
        if self.config.class_weights is ClassWeights.none:
            return None
        return balanced_weights(train[self.config.label_column], len(self.config.labels))

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any]]:
        """Return `{"value"}` per row, or `{"label", "score", "probabilities"}`.

        For sets it is `{"labels", "probabilities"}`, with the labels of probability 0.5 or more.
        """
        logits = np.asarray(outputs, dtype=np.float64)
        if not self.config.labels:
            return [{"value": float(value)} for value in logits.squeeze(-1)]
        labels = self.config.labels
        if self.config.multi_label:
            named = [dict(zip(labels, row.tolist(), strict=True)) for row in expit(logits)]
            return [
                {"labels": [k for k, share in one.items() if share >= LIKELY], "probabilities": one}
                for one in named
            ]
        return described(_softmax(logits), labels)

    def model_options(self) -> dict[str, Any]:
        """Return config entries; the head's dropout is set under each name that heads use."""
        labels, dropout = self.config.labels, self.config.classifier_dropout
        regression: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"}
        options = class_options(labels, self.config.target) if labels else regression
        return options if dropout is None else options | dict.fromkeys(DROPOUT_KEYS, dropout)

    def _targets(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return ids and numbers as they are, and each list of names as (labels,) 0. and 1."""
        if not self.config.multi_label:
            return values
        return [[float(name in value) for name in self.config.labels] for value in values]

    def _answers(self, outputs: Arrays, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and references as metrics take them."""
        logits, targets = np.asarray(outputs), split.rows[self.config.label_column]
        if self.config.multi_label:
            return (logits >= 0).astype(int), np.asarray(self._targets(targets)).astype(int)
        predictions = logits.argmax(axis=-1) if self.config.labels else logits.squeeze(-1)
        return predictions, np.asarray(targets)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Turn (rows, labels) logits into probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)

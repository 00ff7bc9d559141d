"""What a task family must provide: load, encode, collate, score.

A task knows its data, its labels and its metric. It knows nothing of adapters, trainers or runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from goft_cli.config import TaskConfig

ConfigT = TypeVar("ConfigT", bound=TaskConfig)
Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class TaskData:
    """Raw rows by split, and where they came from.

    Attributes:
        splits: rows by split name, columns as the task's YAML names them.
        provenance: what identifies the data for the manifest: hub id and revision or file hashes.
    """

    splits: Mapping[str, Dataset]
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC, Generic[ConfigT]):
    """One benchmark: the pipeline calls `load`, `encode`, `collate`, `score` in this order."""

    auto_class: ClassVar[str]
    """Name of the transformers Auto class that builds the backbone with its head."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def load(self) -> TaskData:
        """Read and check the raw rows of the training split and every evaluation split."""
        config = self.config
        return self.load_splits(list(dict.fromkeys([config.train_split, *config.eval_splits])))

    @abstractmethod
    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the raw rows of the named splits.

        Raises:
            GoftError: a file is missing, empty, ragged or not UTF-8, or a label is out of range.
        """

    @abstractmethod
    def read(self, path: Path) -> Dataset:
        """Read one file of rows to predict on; targets, if any, are left out.

        Raises:
            GoftError: the file cannot be read, or a column of inputs is missing.
        """

    @abstractmethod
    def read_text(self, text: str) -> Dataset:
        """Make one row to predict on from a text.

        Raises:
            GoftError: an input of this task is more than one text.
        """

    @abstractmethod
    def encode(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
        """Turn raw rows into model inputs, one row each, unpadded.

        A `labels` column is present exactly when the rows carry targets.
        """

    @abstractmethod
    def collate(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """Return the function that pads a list of encoded rows into one batch of tensors."""

    @abstractmethod
    def score(self, outputs: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Compute the metrics of one split.

        Args:
            outputs: (rows, labels) raw model outputs, in row order.
            references: (rows,) targets.

        Returns:
            value by metric name; the task's headline is among them.
        """

    @abstractmethod
    def decode(self, outputs: np.ndarray) -> list[dict[str, Any]]:
        """Turn raw model outputs into one readable prediction per row."""

    @abstractmethod
    def model_options(self) -> dict[str, Any]:
        """Return the model-config entries this task fixes (labels, problem type, dropout)."""

    def size_deviations(self, data: TaskData) -> dict[str, tuple[int, int]]:
        """Return (found, published) rows for each split whose size is not the benchmark's."""
        return {
            name: (len(data.splits[name]), expected)
            for name, expected in self.config.benchmark_sizes.items()
            if name in data.splits and len(data.splits[name]) != expected
        }

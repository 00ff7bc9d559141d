"""What a task family must provide: load, encode, collate, score, of all rows and of a choice.

A task knows its data, its labels and its metric. It knows nothing of adapters, trainers or runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from goft_cli.config import Decoding, TaskConfig
from goft_cli.config.task import TUNING
from goft_cli.data.files import read_input
from goft_cli.data.formats import Layout
from goft_cli.data.own import with_tuning
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.tokens import AnyModel, Model

ConfigT = TypeVar("ConfigT", bound=TaskConfig)
ProcessorT = TypeVar("ProcessorT")
Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]
Inputs = Dataset | torch.utils.data.Dataset[Any]
Arrays = np.ndarray | tuple[np.ndarray, ...]
Tensors = Tensor | tuple[Tensor, ...]
Reduce = Callable[[Tensors, Mapping[str, Tensor]], Tensors]
RowScorer = Callable[[np.ndarray], float]
"""From the (n,) places of rows, each as often as it is to count, to the headline on them."""


def chunks(total: int, size: int) -> Iterator[range]:
    """Cut places from 0 to `total` into ranges of `size`, the last one perhaps shorter."""
    for first in range(0, total, size):
        yield range(total)[first : first + size]


@dataclass(frozen=True)
class TaskData:
    """Raw rows by split, columns as the task's YAML names them, and where they came from.

    For the manifest, `provenance` identifies the data by hub id and revision or file hashes.
    """

    splits: Mapping[str, Dataset]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sampled: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By split, how many rows were taken, and of how many, where not all were."""

    def size_deviations(self, published: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Return (found, published) rows for each split that has another size."""
        sizes = {name: len(rows) for name, rows in self.splits.items() if name in published}
        return {n: (size, published[n]) for n, size in sizes.items() if size != published[n]}

    def describe(self, published: Mapping[str, int]) -> dict[str, Any]:
        """Return what a manifest says of the data, `is_the_benchmark` included."""
        deviations, all_rows = self.size_deviations(published), not self.sampled
        is_whole = bool(published) and bool(self.splits) and not deviations and all_rows
        taken = {name: {"rows": rows, "of": total} for name, (rows, total) in self.sampled.items()}
        return {
            "rows": {name: len(rows) for name, rows in self.splits.items()},
            "is_the_benchmark": is_whole,
            "size_deviations": {name: list(sizes) for name, sizes in deviations.items()},
            **({"sampled": taken} if taken else {}),
            **self.provenance,
        }


def sampled(data: TaskData, config: TaskConfig) -> TaskData:
    """Take a sample of each split that has more rows than its limit, in the order of the file.

    It is the same for every seed, so runs are compared on equal rows, and a smaller sample is part
    of a larger one.
    """
    splits, counts = dict(data.splits), dict[str, tuple[int, int]]()
    for name, rows in data.splits.items():
        limit = config.most_rows(name)
        if limit is not None and limit < len(rows):
            # of all generators of numpy's, the one whose numbers no version may change
            order = np.random.RandomState(0).permutation(len(rows))
            splits[name] = rows.select(np.sort(order[:limit]))
            counts[name] = (limit, len(rows))
    return replace(data, splits=splits, sampled={**data.sampled, **counts}) if counts else data


@dataclass(frozen=True)
class Split:
    """Raw rows of a split, and the model's inputs in their order: of a row one, or several."""

    rows: Dataset
    inputs: Inputs


class Task(ABC, Generic[ConfigT, ProcessorT]):
    """One benchmark: the pipeline calls `load`, `encode`, `collate`, `score` in this order."""

    auto_class: ClassVar[str]
    """Name of the transformers Auto class that builds the backbone with its head."""
    processor_class: ClassVar[str] = "AutoTokenizer"
    """Name of the transformers Auto class of what turns rows into model inputs."""
    label_names: ClassVar[tuple[str, ...]] = ("labels",)
    """Which of the encoded columns are targets."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def load(self) -> TaskData:
        """Read and check the raw rows of the training split and every evaluation split."""
        return self.load_some(self.config.used_splits)

    def load_some(self, names: Sequence[str]) -> TaskData:
        """Read and check the raw rows of the named splits, of each no more than its limit."""
        config = self.config
        stored = dict.fromkeys(config.train_split if name == TUNING else name for name in names)
        data = sampled(self.load_splits(list(stored)), config)
        splits = with_tuning(config, data.splits, names)
        return sampled(replace(data, splits=splits), config)

    @abstractmethod
    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check all raw rows of the named splits."""

    def respelled(self, provenance: Mapping[str, Any]) -> Task[ConfigT, ProcessorT]:
        """Return this task with the names that its training data's provenance has; here none."""
        return self

    @property
    def layout(self) -> Layout:
        """How the task's files are read that do not say so themselves."""
        return Layout()

    @property
    def asked(self) -> Sequence[str]:
        """Columns of `unlabelled` without whose text a row is not predicted on; here none."""
        return ()

    @property
    def line_column(self) -> str | None:
        """The column that a line of text is, if a row can be made of one."""
        return None

    def read_table(self, path: Path) -> Table:
        """Read rows to predict on with all columns that they have, unchecked; `-` is stdin."""
        return read_input(path, self.layout, self.line_column)

    @abstractmethod
    def unlabelled(self, table: Table) -> Dataset:
        """Return a table's rows to predict on, checked, without targets, in the table's order.

        A missing text is an empty one.
        """

    def read(self, path: Path) -> Dataset:
        """Read one file of rows to predict on; targets, if any, are left out."""
        return self.unlabelled(self.read_table(path))

    def read_text(self, text: str) -> Dataset:
        """Make one row to predict on from a text."""
        if self.line_column is None:
            raise GoftError(
                f"task {self.config.name} takes {' and '.join(self.asked)}, found one text",
                "pass input=FILE with these columns",
            )
        return self.unlabelled(Table("text", {self.line_column: [text]}))

    @abstractmethod
    def encode(self, rows: Dataset, processor: ProcessorT) -> Inputs:
        """Turn raw rows into model inputs, unpadded.

        Targets, under `label_names`, are present exactly when the rows carry them. Columns that the
        model does not take may stay for `score` and `decode`; Trainer leaves them out.
        """

    def split(self, rows: Dataset, processor: ProcessorT) -> Split:
        """Encode rows, and return them with their inputs, without rows that the task leaves out."""
        return Split(rows, self.encode(rows, processor))

    def training_inputs(self, inputs: Inputs) -> Inputs:
        """Return the inputs to train on, which a task may pack; those to score stay as they are."""
        return inputs

    @abstractmethod
    def collate(self, processor: ProcessorT) -> Collator:
        """Return the function that pads a list of encoded rows into one batch of tensors."""

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensors:
        """Keep what `score` and `decode` need of a batch's raw outputs, without the loss; here all.

        The first dimension is the batch; `batch` is what `collate` made, targets included. What is
        kept of all rows is held in memory at once. Whole numbers are places, not compared between
        models.
        """
        return outputs

    @abstractmethod
    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the metrics, headline included, of one split whose rows carry targets.

        Outputs, here and below, are what `reduce` kept, in the order of `split.inputs`; where
        batches differ in length, filled up with -100.
        """

    @abstractmethod
    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return what computes the headline on some rows of a split, for a bootstrap.

        It is the metric of `score`; what needs no choice of rows is computed once.
        """

    @abstractmethod
    def decode(self, outputs: Arrays, split: Split) -> Sequence[dict[str, Any] | None]:
        """Return one readable prediction per raw row; None for a row that could not be read."""

    def by_class(self, outputs: Arrays, split: Split) -> dict[str, Any] | None:
        """Return the scores and the confusions of each class, as `goft_cli.tasks.classes` does.

        None, as here, where a task has no classes. The rows carry targets.
        """
        return None

    def constant(self, train: Dataset, split: Split) -> tuple[str, Arrays] | None:
        """Return the answer that a model would give without looking, and its outputs for a split.

        It is the most frequent class of the training rows, or their mean, and in words how a
        sentence names it; None, as here, where there is no such answer.
        """
        return None

    def class_weights(self, train: Dataset) -> np.ndarray | None:
        """Return what a row of each class counts in the training loss; None if all count alike."""
        return None

    def files(self, outputs: Arrays, split: Split) -> dict[str, str]:
        """Return, by name, the content of files that the benchmark's own scorer reads; here none.

        The rows carry targets.
        """
        return {}

    def check_model(self, model: Model) -> None:
        """Refuse a model that cannot take this task's batches; by default none."""
        return

    def unfit_rows(self, rows: Dataset, model: AnyModel, processor: ProcessorT) -> dict[int, str]:
        """Return why rows to predict on cannot be encoded or answered, by their places; here none.

        `encode` and `answer` refuse such rows.
        """
        return {}

    @abstractmethod
    def model_options(self) -> dict[str, Any]:
        """Return the model-config entries this task fixes (labels, problem type, dropout)."""

    def processor_options(self) -> dict[str, Any]:
        """Return the processor-config entries this task fixes; by default none."""
        return {}

    def fit_processor(self, processor: ProcessorT) -> None:
        """Give a processor that was just loaded what this task needs; by default it has it all."""
        return

    def size_deviations(self, data: TaskData) -> dict[str, tuple[int, int]]:
        """Return (found, published) rows for each split whose size is not the benchmark's."""
        return data.size_deviations(self.config.benchmark_sizes)


class AnsweringTask(Task[ConfigT, ProcessorT]):
    """A task whose model answers in words of its own, when it is asked to predict."""

    def read_turn(self, before: Sequence[Mapping[str, str]], text: str) -> Dataset:
        """Make one row of a text and the turns before it, which here do not matter.

        A turn has the `role` "user" or "assistant" and a `content`.
        """
        return self.read_text(text)

    @abstractmethod
    def answer(
        self,
        model: AnyModel,
        rows: Dataset,
        processor: ProcessorT,
        *,
        batch_size: int,
        decoding: Decoding,
        numbers: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        """Return one readable prediction per row of `read` or `read_text`.

        The model is in evaluation mode, on its device. The rows may be some of many; `numbers` are
        their places there, counted from 0.
        """

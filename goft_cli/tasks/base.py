"""Base classes of task families: load, encode, collate, score all rows or some.

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
"""Returns the headline of rows, from their indices (n,), which may repeat."""


def chunks(total: int, size: int) -> Iterator[range]:
    """Split the indices below `total` into ranges of `size`; the last one may be shorter."""
    for first in range(0, total, size):
        yield range(total)[first : first + size]


@dataclass(frozen=True)
class TaskData:
    """Raw rows by split, with the columns that the task's YAML names, and their source.

    For the manifest, `provenance` identifies the data by hub id and revision or file hashes.
    """

    splits: Mapping[str, Dataset]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sampled: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By split, if only a sample is used: the rows in the sample, and all rows."""

    def size_deviations(self, published: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Return (found, published) rows for each split that has another size."""
        sizes = {name: len(rows) for name, rows in self.splits.items() if name in published}
        return {n: (size, published[n]) for n, size in sizes.items() if size != published[n]}

    def describe(self, published: Mapping[str, int]) -> dict[str, Any]:
        """Return the manifest's entry for the data, with `is_the_benchmark`."""
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
            # numpy guarantees that this generator's numbers never change between versions
            order = np.random.RandomState(0).permutation(len(rows))
            splits[name] = rows.select(np.sort(order[:limit]))
            counts[name] = (limit, len(rows))
    return replace(data, splits=splits, sampled={**data.sampled, **counts}) if counts else data


@dataclass(frozen=True)
class Split:
    """Raw rows of a split, and the model inputs in their order, one or several per row."""

    rows: Dataset
    inputs: Inputs


class Task(ABC, Generic[ConfigT, ProcessorT]):
    """One benchmark: the pipeline calls `load`, `encode`, `collate`, `score` in this order."""

    auto_class: ClassVar[str]
    """Name of the transformers Auto class that builds the backbone with its head."""
    processor_class: ClassVar[str] = "AutoTokenizer"
    """Name of the transformers Auto class of the tokenizer or image processor."""
    label_names: ClassVar[tuple[str, ...]] = ("labels",)
    """The encoded columns that are targets."""

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
        """Return this task with the label names of its training data; here unchanged."""
        return self

    @property
    def layout(self) -> Layout:
        """The layout of the task's files that have no header."""
        return Layout()

    @property
    def asked(self) -> Sequence[str]:
        """Columns of `unlabelled` whose text a row needs for a prediction; here none."""
        return ()

    @property
    def line_column(self) -> str | None:
        """The column that a line of text fills, if one column is enough for a row."""
        return None

    def read_table(self, path: Path) -> Table:
        """Read rows to predict on, with all their columns, unchecked; `-` is stdin."""
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
        """Return the training inputs, which a task may pack; inputs to score are never packed."""
        return inputs

    @abstractmethod
    def collate(self, processor: ProcessorT) -> Collator:
        """Return the function that pads a list of encoded rows into one batch of tensors."""

    def reduce(self, outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensors:
        """Reduce a batch's raw outputs, without the loss, to what `score` and `decode` need.

        The first dimension is the batch; `batch` is the result of `collate`, with targets. The
        results for all rows are in memory at once. Integers are indices, which are not compared
        between models.
        """
        return outputs

    @abstractmethod
    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the metrics, headline included, of one split whose rows carry targets.

        Outputs, here and below, are the results of `reduce` in the order of `split.inputs`; if
        batches differ in length, they are padded with -100.
        """

    @abstractmethod
    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return a function that computes the headline on some rows of a split, for a bootstrap.

        The metric is that of `score`; work that does not depend on the rows is done once.
        """

    @abstractmethod
    def decode(self, outputs: Arrays, split: Split) -> Sequence[dict[str, Any] | None]:
        """Return one readable prediction per raw row; None for a row that could not be read."""

    def by_class(self, outputs: Arrays, split: Split) -> dict[str, Any] | None:
        """Return each class's scores and confusions, in the format of `goft_cli.tasks.classes`.

        None, as here, if a task has no classes. The rows have targets.
        """
        return None

    def constant(self, train: Dataset, split: Split) -> tuple[str, Arrays] | None:
        """Return the name and the outputs of a constant prediction, the trivial baseline.

        It is the most frequent class of the training rows, or their mean; None, as here, if the
        task has no such baseline.
        """
        return None

    def class_weights(self, train: Dataset) -> np.ndarray | None:
        """Return the weight of each class in the training loss; None if all are equal."""
        return None

    def files(self, outputs: Arrays, split: Split) -> dict[str, str]:
        """Return the content, by name, of files for the benchmark's own scorer; here none.

        The rows carry targets.
        """
        return {}

    def check_model(self, model: Model) -> None:
        """Refuse a model that cannot take this task's batches; by default none."""
        return

    def unfit_rows(self, rows: Dataset, model: AnyModel, processor: ProcessorT) -> dict[int, str]:
        """Return, by index, why rows to predict on cannot be encoded or answered; here none.

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
        """Set up a loaded processor for this task; does nothing by default."""
        return

    def size_deviations(self, data: TaskData) -> dict[str, tuple[int, int]]:
        """Return (found, published) rows for each split whose size is not the benchmark's."""
        return data.size_deviations(self.config.benchmark_sizes)


class AnsweringTask(Task[ConfigT, ProcessorT]):
    """A task whose model predicts by generating text."""

    def read_turn(self, before: Sequence[Mapping[str, str]], text: str) -> Dataset:
        """Make one row from a text and the turns before it, which are ignored here.

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

        The model is in evaluation mode, on its device. The rows may be part of a table; `numbers`
        are their indices there, counted from 0.
        """

"""Data, labels, metric, and the hyperparameters known for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from goft_cli.config.checks import check
from goft_cli.config.labels import Labels

TRAIN_SAMPLE = "train_sample"
"""What stands in for the evaluation splits of a task that has none: its first training rows."""


def judge(splits: Sequence[str]) -> str:
    """Name the split that stands for a run unless its task names another."""
    return splits[0] if splits else TRAIN_SAMPLE


# Defaults below ask for it, also where a file is read back and no command line was composed.
OmegaConf.register_new_resolver("judge", judge, replace=True)


@dataclass
class RecipeConfig:
    """Hyperparameters known for a task: for every adapter, and for one by its name."""

    source: str = MISSING
    model: str = MISSING
    """Name of the model the values were tuned for."""
    shared: dict[str, Any] = field(default_factory=dict)
    by_adapter: dict[str, Any] = field(default_factory=dict)


@dataclass
class TaskConfig:
    """What every task family shares; a family adds its own fields."""

    name: str = MISSING
    family: str = MISSING
    data_dir: str | None = None
    """Folder with local data; without it the data comes from the hub or a generator."""
    headline: str = MISSING
    """The metric that picks the best checkpoint and stands for the run."""
    greater_is_better: bool = True
    train_split: str = "train"
    eval_splits: list[str] = field(default_factory=lambda: ["validation"])
    """The first one is scored during training; the headline comes from `headline_split`."""
    headline_split: str = "${judge:${.eval_splits}}"
    benchmark_sizes: dict[str, int] = field(default_factory=dict)
    """Rows per split of the published benchmark; other sizes run, but are reported as such."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    @property
    def folder(self) -> Path | None:
        """The folder of local data, if it comes from one."""
        return None if self.data_dir is None else Path(self.data_dir).expanduser()

    @property
    def remote_dataset(self) -> DatasetConfig | None:
        """What is read from the hub, if anything is."""
        dataset = getattr(self, "dataset", None)
        if dataset is None or self.data_dir is not None or dataset.is_generated:
            return None
        return dataset


@dataclass
class BenchmarkConfig(TaskConfig):
    """A task that is only scored: nothing of it is trained on, so it has no recipe."""

    recipe: RecipeConfig = field(default_factory=lambda: RecipeConfig(source="", model=""))


@dataclass
class DatasetConfig:
    """A dataset on the hub, or a generator of this package (`demo:NAME`)."""

    id: str = MISSING
    config: str | None = None
    revision: str | None = None

    @property
    def is_generated(self) -> bool:
        """Whether this package makes the rows itself."""
        return self.id.startswith("demo:")


@dataclass
class TextClassificationConfig(TaskConfig):
    """One or two texts in, one label (or, without `labels`, one number) out."""

    family: str = "text_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    text_columns: list[str] = MISSING
    label_column: str = "label"
    raw_columns: list[str] = field(default_factory=list)
    """Column names for local tables that come without a header row, in order."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call a column of this task: `{label: gold_label}`."""
    skip_short_rows: bool = False
    """Leave out, with a count, rows of a tsv or csv file that have fewer fields than its header."""
    labels: list[str] = field(default_factory=list)
    """Names in the order of their ids; empty means regression."""
    label_range: list[float] = field(default_factory=list)
    """Smallest and largest target of a regression."""
    metrics: list[str] = MISSING
    max_length: int = 128
    classifier_dropout: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges of this family, and that its labels can be told apart."""
        Labels(self.labels)
        check(
            self.max_length >= 2,
            key="task.max_length",
            value=self.max_length,
            expected="at least 2 tokens",
            example=128,
        )
        dropout = self.classifier_dropout
        check(
            dropout is None or 0 <= dropout < 1,
            key="task.classifier_dropout",
            value=dropout,
            expected="a probability below 1",
            example=0.1,
        )

"""Data, labels, metric, and the hyperparameters known for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from goft_cli.config.choices import Section, check
from goft_cli.config.labels import Labels

LOSSES = ("loss", "perplexity")
"""Headlines of which less is better."""
TRAIN_SAMPLE = "train_sample"
"""What stands in for the evaluation splits of a task that has none: its first training rows."""


def headline_split(splits: Sequence[str]) -> str:
    """Name the split that stands for a run unless its task names another."""
    return splits[0] if splits else TRAIN_SAMPLE


# Defaults below ask for it, also where a file is read back and no command line was composed.
OmegaConf.register_new_resolver("judge", headline_split, replace=True)


UNTUNED = "untuned"
"""Source of a recipe that states no values: those of `goft_cli.compose.untuned` hold."""


@dataclass
class RecipeConfig:
    """Hyperparameters known for a task: for every adapter, and for one by its name."""

    source: str = UNTUNED
    """Where the values were published, or how they were found."""
    model: str | None = None
    """Name of the model the values were tuned for."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Values for every adapter."""
    by_adapter: dict[str, Any] = field(default_factory=dict)
    """Values for one adapter, by its name."""


@dataclass
class OwnDataConfig(Section):
    """How the files of `data_dir` become splits, where it holds data of the user's own."""

    prefix = "task.own."
    validation: str | None = None
    """File of the rows to validate on."""
    split: float = 0.1
    """Share of the training rows that becomes `validation` where no file holds those rows."""
    group: str | None = None
    """Column whose equal values stay together, in `train` or in `validation`."""
    seed: int = 0
    """Seed of the choice of rows."""

    def __post_init__(self) -> None:
        self.check(0 < self.split < 1, "split", "a share above 0 and below 1", example=0.1)


@dataclass
class TaskConfig(Section):
    """What every task family shares; a family adds its own fields."""

    prefix = "task."
    name: str = MISSING
    """What tables and folders call it."""
    family: str = MISSING
    """Which program reads, encodes and scores it."""
    data_dir: str | None = None
    """Folder with local data; without it the data comes from the hub or a generator.

    Data of the user's own may be one file, too."""
    own: OwnDataConfig | None = None
    """How files of the user's own become splits; none for a published data set."""
    headline: str = MISSING
    """The metric that picks the best checkpoint and stands for the run."""
    greater_is_better: bool = True
    """Whether a larger headline is better."""
    train_split: str = "train"
    """The split to train on."""
    eval_splits: list[str] = field(default_factory=lambda: ["validation"])
    """The first one is scored during training; the headline comes from `headline_split`."""
    headline_split: str = "${judge:${.eval_splits}}"
    """The split whose headline stands for the run; the first of `eval_splits` by default."""
    benchmark_sizes: dict[str, int] = field(default_factory=dict)
    """Rows per split of the published benchmark; other sizes run, but are reported as such."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """Hyperparameters that are known for the task."""

    @property
    def folder(self) -> Path | None:
        """The folder of local data, if it comes from one; of one file, the folder it is in."""
        place = None if self.data_dir is None else Path(self.data_dir).expanduser()
        return place if place is None or self.own is None or place.is_dir() else place.parent

    @property
    def splits(self) -> list[str]:
        """What is read: the training split and every evaluation split, each once."""
        return list(dict.fromkeys([self.train_split, *self.eval_splits]))

    @property
    def strata(self) -> str | None:
        """The column whose values occur as often in each part of a split; here none."""
        return None

    @property
    def together(self) -> str | None:
        """The column whose equal values stay together unless a group is named; here none."""
        return None

    @property
    def remote_dataset(self) -> DatasetConfig | None:
        """What is read from the hub, if anything is."""
        dataset = getattr(self, "dataset", None)
        if dataset is None or self.data_dir is not None or dataset.is_generated or not dataset.id:
            return None
        return dataset


def check_scored(task: TaskConfig, key: str) -> None:
    """Refuse a headline that the scores, made after all the work, would not have.

    `key` is that of the task's section.
    """
    splits, split = task.eval_splits or [TRAIN_SAMPLE], task.headline_split
    once, first = len({*splits}) == len(splits), splits[0]
    check(once, f"{key}.eval_splits", splits, "each split once", example=f"[{first}]")
    one_of = f"one of {key}.eval_splits=[{','.join(splits)}]"
    check(split in splits, f"{key}.headline_split", split, one_of, example=first)
    greater, better = task.greater_is_better, task.headline not in LOSSES
    expected = f"{better} for {key}.headline={task.headline}"
    check(greater is better, f"{key}.greater_is_better", greater, expected, example=better)


@dataclass
class BenchmarkConfig(TaskConfig):
    """A task that is only scored: nothing of it is trained on, so it has no recipe."""

    recipe: RecipeConfig = field(default_factory=lambda: RecipeConfig(source="", model=""))


@dataclass
class DatasetConfig:
    """A dataset on the hub, or a demo of this package (`demo:NAME`)."""

    id: str = ""
    """Id on the hub, or `demo:NAME`; empty where the rows are in files of the user's own."""
    config: str | None = None
    """Name of the configuration on the hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""

    @property
    def is_generated(self) -> bool:
        """Whether the rows come with this package."""
        return self.id.startswith("demo:")


@dataclass
class TextClassificationConfig(TaskConfig):
    """One or two texts in, one label (or, without `labels`, one number) out."""

    family: str = "text_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    text_columns: list[str] = MISSING
    """One or two columns of text."""
    label_column: str = "label"
    """The column with the label, or the number."""
    raw_columns: list[str] = field(default_factory=list)
    """Column names for local tables that come without a header row, in order."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call a column of this task: `{label: gold_label}`."""
    skip_short_rows: bool = False
    """Leave out, with a count, rows of a tsv or csv file that have fewer fields than its header."""
    headline: str = "${.metrics[0]}"
    labels: list[str] = field(default_factory=list)
    """Names in the order of their ids; empty means regression."""
    label_range: list[float] = field(default_factory=list)
    """Smallest and largest target of a regression."""
    metrics: list[str] = MISSING
    """What is computed on each evaluation split."""
    max_length: int = 128
    """Tokens of a row; a longer one is cut."""
    classifier_dropout: float | None = None
    """Dropout of the new head; the model's own by default."""

    @property
    def strata(self) -> str | None:
        """The column with the label, if there are classes."""
        return self.label_column if self.labels else None

    def __post_init__(self) -> None:
        Labels(self.labels)  # refuses labels that cannot be told apart
        self.check(self.max_length >= 2, "max_length", "at least 2 tokens", example=128)
        dropout = self.classifier_dropout
        is_share = dropout is None or 0 <= dropout < 1
        self.check(is_share, "classifier_dropout", "a probability below 1", example=0.1)

"""Data, labels, metric, and the hyperparameters known for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from goft_cli.config.choices import ClassWeights, Section, Target, check
from goft_cli.config.labels import Labels
from goft_cli.system.errors import GoftError

LOSSES = ("loss", "perplexity")
"""Headlines of language modelling."""
LESS_IS_BETTER = (*LOSSES, "mae", "mse", "rmse")
"""Headlines of which less is better."""
TRAIN_SAMPLE = "train_sample"
"""What stands in for the evaluation splits of a task that has none: its first training rows."""

TUNING = "tuning"
"""A split that every task has: `TUNING_SHARE` of the training rows, which are then not trained on.

Settings are chosen on it where the split of the headline is to stay unseen."""
TUNING_SHARE = 0.1


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
    max_train_samples: int | None = None
    """Train on a sample of this many rows: the same ones for every seed, and part of any larger
    sample."""
    max_eval_samples: int | None = None
    """Score a sample of this many rows of each evaluation split, chosen likewise."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """Hyperparameters that are known for the task."""

    @property
    def folder(self) -> Path | None:
        """The folder of local data, if it comes from one; of one file, the folder it is in."""
        place = None if self.data_dir is None else self.place
        return place if place is None or self.own is None or place.is_dir() else place.parent

    @property
    def place(self) -> Path:
        """The folder or file of local data."""
        return Path(self.data_dir or "").expanduser()

    @property
    def splits(self) -> list[str]:
        """What is read: the training split and every evaluation split, each once."""
        return [name for name in self.used_splits if name != TUNING]

    @property
    def used_splits(self) -> list[str]:
        """The same with `tuning`, whose rows are read with those to train on."""
        return list(dict.fromkeys([self.train_split, *self.eval_splits]))

    def most_rows(self, split: str) -> int | None:
        """Return how many rows of a split are used at most, if there is a limit."""
        return self.max_train_samples if split == self.train_split else self.max_eval_samples

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
    """Refuse a headline that the scores, made after all the work, would not have; and no rows.

    `key` is that of the task's section.
    """
    for name in ("max_train_samples", "max_eval_samples"):
        limit = getattr(task, name)
        check(limit is None or limit > 0, f"{key}.{name}", limit, "at least 1 row", example=100)
        if limit and isinstance(task, BenchmarkConfig):
            raise GoftError(
                f"{key}.{name}={limit}: a benchmark asks every question",
                "leave it out",
            )
    splits, split = task.eval_splits or [TRAIN_SAMPLE], task.headline_split
    once, first = len({*splits}) == len(splits), splits[0]
    check(once, f"{key}.eval_splits", splits, "each split once", example=f"[{first}]")
    one_of = f"one of {key}.eval_splits=[{','.join(splits)}]"
    check(split in splits, f"{key}.headline_split", split, one_of, example=first)
    greater, better = task.greater_is_better, task.headline not in LESS_IS_BETTER
    expected = f"{better} for {key}.headline={task.headline}"
    check(greater is better, f"{key}.greater_is_better", greater, expected, example=better)


def target_of(classes: int) -> Target:
    """Return what a task with so many classes predicts; without any it is a number."""
    if not classes:
        return Target.number
    return Target.many if classes > 2 else Target.two


def check_weights(task: Section, weights: ClassWeights, target: Target) -> None:
    """Refuse weights of classes where a row has not one class."""
    fits = weights is ClassWeights.none or target in {Target.two, Target.many}
    expected = f"none for a task that predicts {target.value}"
    task.check(fits, "class_weights", expected, example="none")


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
    """One or two texts in, one label (or several, or without `labels` one number) out."""

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
    multi_label: bool = False
    """A row has any number of the labels: a list, or a text such as `a;b`."""
    label_range: list[float] = field(default_factory=list)
    """Smallest and largest target of a regression."""
    metrics: list[str] = MISSING
    """What is computed on each evaluation split."""
    max_length: int = 128
    """Tokens of a row; a longer one is cut."""
    class_weights: ClassWeights = ClassWeights.none
    """What a row counts in the training loss: `balanced` lets rare classes count as much."""
    classifier_dropout: float | None = None
    """Dropout of the new head; the model's own by default."""

    @property
    def target(self) -> Target:
        """What is predicted."""
        return Target.sets if self.multi_label else target_of(len(self.labels))

    @property
    def strata(self) -> str | None:
        """The column with the label, if a row has one of several classes."""
        return self.label_column if self.labels and not self.multi_label else None

    def __post_init__(self) -> None:
        Labels(self.labels)  # refuses labels that cannot be told apart
        self.check(self.max_length >= 2, "max_length", "at least 2 tokens", example=128)
        named = bool(self.labels) or not self.multi_label
        self.check(named, "multi_label", "task.labels to choose from", example="false")
        check_weights(self, self.class_weights, self.target)
        dropout = self.classifier_dropout
        is_share = dropout is None or 0 <= dropout < 1
        self.check(is_share, "classifier_dropout", "a probability below 1", example=0.1)

"""Tasks: data, labels, metric, and their known hyperparameters."""

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
"""Headlines for which a smaller value is better."""
TRAIN_SAMPLE = "train_sample"
"""Split that replaces the evaluation splits of a task without any: its first training rows."""

TUNING = "tuning"
"""A split that every task has: `TUNING_SHARE` of the training rows, which are then not trained on.

Settings are chosen on it, so that the choice does not use the headline's split."""
TUNING_SHARE = 0.1


def headline_split(splits: Sequence[str]) -> str:
    """Name the split of a run's headline, unless its task names another."""
    return splits[0] if splits else TRAIN_SAMPLE


# Registered at import: defaults below use it, also when a file is read without Hydra.
OmegaConf.register_new_resolver("judge", headline_split, replace=True)


UNTUNED = "untuned"
"""Source of a recipe without values, for which those of `goft_cli.compose.own.untuned` are used."""


@dataclass
class RecipeConfig:
    """Known hyperparameters of a task, for every adapter and for single adapters."""

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
    """How the files of `data_dir` become splits, if it holds the user's own data."""

    prefix = "task.own."
    validation: str | None = None
    """File with the validation rows."""
    split: float = 0.1
    """Share of the training rows that becomes `validation`, if there is no file for it."""
    group: str | None = None
    """Column of groups: rows with the same value are all in `train` or all in `validation`."""
    seed: int = 0
    """Seed of the random split."""

    def __post_init__(self) -> None:
        self.check(0 < self.split < 1, "split", "a share above 0 and below 1", example=0.1)


@dataclass
class TaskConfig(Section):
    """What every task family shares; a family adds its own fields."""

    prefix = "task."
    name: str = MISSING
    """Its name in tables and folders."""
    family: str = MISSING
    """The task family, whose code reads, encodes and scores it."""
    data_dir: str | None = None
    """Folder with local data; without it the data comes from the hub or a generator.

    Your own data can also be one file."""
    own: OwnDataConfig | None = None
    """How your own files become splits; none for a published data set."""
    headline: str = MISSING
    """The metric that picks the best checkpoint and is reported as the run's score."""
    greater_is_better: bool = True
    """Whether a larger headline is better."""
    train_split: str = "train"
    """The split to train on."""
    eval_splits: list[str] = field(default_factory=lambda: ["validation"])
    """Evaluation splits; the first one is scored during training."""
    headline_split: str = "${judge:${.eval_splits}}"
    """The split whose headline is the run's score; by default the first of `eval_splits`."""
    benchmark_sizes: dict[str, int] = field(default_factory=dict)
    """Rows per split of the published benchmark; a run with other sizes reports the difference."""
    max_train_samples: int | None = None
    """Train on a sample of this many rows: the same for every seed, and part of any larger
    sample."""
    max_eval_samples: int | None = None
    """Score a sample of this many rows of each evaluation split, chosen in the same way."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """Known hyperparameters of the task."""

    @property
    def folder(self) -> Path | None:
        """The folder of local data, or of its one file; None if the data is not local."""
        place = None if self.data_dir is None else self.place
        return place if place is None or self.own is None or place.is_dir() else place.parent

    @property
    def place(self) -> Path:
        """The folder or file of local data."""
        return Path(self.data_dir or "").expanduser()

    @property
    def splits(self) -> list[str]:
        """The splits to read: the training split and every evaluation split, each once."""
        return [name for name in self.used_splits if name != TUNING]

    @property
    def used_splits(self) -> list[str]:
        """The splits that are trained on or scored, `tuning` included; `splits` has its rows."""
        return list(dict.fromkeys([self.train_split, *self.eval_splits]))

    def most_rows(self, split: str) -> int | None:
        """Return the largest number of rows of a split to use; None for no limit."""
        return self.max_train_samples if split == self.train_split else self.max_eval_samples

    @property
    def strata(self) -> str | None:
        """The column to stratify a random split by; here none."""
        return None

    @property
    def together(self) -> str | None:
        """The column of groups for a random split, if the user names none; here none."""
        return None

    @property
    def remote_dataset(self) -> DatasetConfig | None:
        """The dataset to read from the hub; None if nothing is read from there."""
        dataset = getattr(self, "dataset", None)
        if dataset is None or self.data_dir is not None or dataset.is_generated or not dataset.id:
            return None
        return dataset


def check_scored(task: TaskConfig, key: str) -> None:
    """Refuse a headline that the scores would not have, and an evaluation without rows.

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
    """Return what a task with this number of classes predicts; with 0 classes a number."""
    if not classes:
        return Target.number
    return Target.many if classes > 2 else Target.two


def check_weights(task: Section, weights: ClassWeights, target: Target) -> None:
    """Refuse class weights for a task whose rows do not have one class each."""
    fits = weights is ClassWeights.none or target in {Target.two, Target.many}
    expected = f"none for a task that predicts {target.value}"
    task.check(fits, "class_weights", expected, example="none")


@dataclass
class BenchmarkConfig(TaskConfig):
    """A task that is only scored and not trained on, so it has no recipe."""

    recipe: RecipeConfig = field(default_factory=lambda: RecipeConfig(source="", model=""))


def require_benchmark(task: TaskConfig) -> None:
    """Refuse a task to train on."""
    if not isinstance(task, BenchmarkConfig):
        raise GoftError(
            f"task {task.name} is a task to train on, not a benchmark",
            "score a trained run with goft eval adapter=RUN_FOLDER, or choose a benchmark such as "
            "task=mmlu/full",
        )


@dataclass
class DatasetConfig:
    """A dataset on the hub, or a demo of this package (`demo:NAME`)."""

    id: str = ""
    """Id on the hub, or `demo:NAME`; empty if the rows are in the user's own files."""
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
    """Text classification: of one or two texts, one or several labels, or a number."""

    family: str = "text_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """The dataset to read if `data_dir` is not given."""
    text_columns: list[str] = MISSING
    """One or two columns of text."""
    label_column: str = "label"
    """The column with the label, or the number."""
    raw_columns: list[str] = field(default_factory=list)
    """Column names, in order, of local tables without a header row."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """Names of this task's columns in published files: `{label: gold_label}`."""
    skip_short_rows: bool = False
    """Leave out, with a count, rows of a tsv or csv file that have fewer fields than its header."""
    headline: str = "${.metrics[0]}"
    labels: list[str] = field(default_factory=list)
    """Names of the labels in the order of their ids; empty means regression."""
    multi_label: bool = False
    """Whether a row has any number of labels: a list, or a text such as `a;b`."""
    label_range: list[float] = field(default_factory=list)
    """Smallest and largest target of a regression."""
    metrics: list[str] = MISSING
    """What is computed on each evaluation split."""
    max_length: int = 128
    """Longest row, in tokens; a longer one is truncated."""
    class_weights: ClassWeights = ClassWeights.none
    """Weight of a row in the loss: `balanced` gives every class the same total weight."""
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

"""The task families beside texts with labels: images, instructions, questions on a context."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from goft_cli.config.choices import (
    ClassWeights,
    GlobalBatch,
    Selection,
    Target,
    Transform,
    VtabGroup,
)
from goft_cli.config.labels import Labels
from goft_cli.config.task import LOSSES, DatasetConfig, TaskConfig, target_of
from goft_cli.system.files import LABEL

HELD_OUT = "validation"
"""The split that a share of the training rows becomes."""
ENTITY_TAG = re.compile(r"O|[BIESLU]-.+")
"""Tags of words outside of entities, and of those that begin, go on with, end or are one."""
SCORES = ("exact_match", "f1")
"""Headlines of question answering."""


@dataclass
class ImageClassificationConfig(TaskConfig):
    """One image in, one class out.

    `data_dir` holds one list of `relative/path class` lines per split, such as `train.txt`.
    """

    family: str = "image_classification"
    headline: str = "accuracy"
    generator: str | None = None
    """A demo of this package (`demo:NAME`), for want of a `data_dir`."""
    metrics: list[str] = field(default_factory=lambda: ["accuracy"])
    """What is computed on each evaluation split."""
    classes: int = MISSING
    """Number of classes."""
    labels: list[str] = field(default_factory=list)
    """Names of the classes in the order of their ids; their numbers by default."""
    class_weights: ClassWeights = ClassWeights.none
    """What a row counts in the training loss: `balanced` lets rare classes count as much."""
    transform: Transform = Transform.model
    """How images are resized and normalised: as the model's own processor does, or as FacT does."""

    @property
    def names(self) -> list[str]:
        """The names of the classes, in the order of their ids."""
        return self.labels or [str(number) for number in range(self.classes)]

    @property
    def strata(self) -> str:
        """The column with the class."""
        return LABEL

    @property
    def folder(self) -> Path | None:
        """The task's folder, which `data_dir` names or holds (as VTAB-1K's archive does)."""
        folder = super().folder
        inner = None if folder is None else folder / Path(self.name).name
        return inner if inner is not None and inner.is_dir() else folder

    @property
    def target(self) -> Target:
        """What is predicted."""
        return target_of(self.classes)

    def __post_init__(self) -> None:
        self.check(self.classes >= 2, "classes", "at least 2", example=10)
        Labels(self.names)
        named = f"as many as task.labels names, {len(self.names)}"
        self.check(self.classes == len(self.names), "classes", named, example=len(self.names))


@dataclass
class SplitsConfig:
    """Which splits are trained on and scored, in the words of `TaskConfig`."""

    train_split: str = MISSING
    """The split to train on."""
    eval_splits: list[str] = MISSING
    """The splits to score."""


@dataclass
class VtabConfig(ImageClassificationConfig):
    """One of VTAB-1K's nineteen tasks, in the public folder layout."""

    group: VtabGroup = MISSING
    """VTAB's group of tasks."""
    selection: Selection = Selection.val200
    """Which split picks the best checkpoint."""
    selections: dict[str, SplitsConfig] = field(default_factory=dict)
    """What each selection means."""
    transform: Transform = Transform.imagenet


def held_out(share: float) -> list[str]:
    """Name the splits that are made from a share of the training rows."""
    return [HELD_OUT] if share else []


OmegaConf.register_new_resolver("held_out", held_out, replace=True)


@dataclass
class InstructionConfig(TaskConfig):
    """An instruction and perhaps an input in, an answer out (Alpaca's columns and template)."""

    family: str = "instruction"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call `instruction`, `input` or `output`: `{output: response}`."""
    max_length: int = 1024
    """Tokens of an example; of a longer one, prompt and answer are cut in proportion."""
    packing: bool = False
    """Lay the examples of a batch end to end in place of padding; each still sees itself alone."""
    global_batch: GlobalBatch | None = GlobalBatch.per_device_128
    """Examples per update, however many devices share them out; null leaves it to `trainer`."""
    holdout: float = 0.0
    """Share of the training rows that is kept back as the split `validation`."""
    streaming: bool = False
    """Read a file of JSON lines some rows at a time and map them from disk, not from memory."""
    eval_splits: Any = "${held_out:${.holdout}}"
    headline: str = "loss"
    greater_is_better: bool = False

    def __post_init__(self) -> None:
        self.check(self.headline in LOSSES, "headline", " or ".join(LOSSES), example=LOSSES[0])
        tokens = "at least 2 tokens, one of the prompt and one of the answer"
        self.check(self.max_length >= 2, "max_length", tokens, example=1024)
        self.check(0 <= self.holdout < 1, "holdout", "a share from 0 to below 1", example=0.05)
        plain = self.own is not None and self.own.group is None
        of_own = "false but for data of your own without group="
        self.check(plain or not self.streaming, "streaming", of_own, example="false")


@dataclass
class TokenClassificationConfig(TaskConfig):
    """Words in, a tag for each out: entities in BIO tags, or any others."""

    family: str = "token_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    text_columns: list[str] = field(default_factory=lambda: ["tokens"])
    """The column with the words: a list, or a text with blanks between them."""
    label_column: str = "tags"
    """The column with as many tags."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call a column of this task: `{tags: ner_tags}`."""
    labels: list[str] = MISSING
    """Names of the tags in the order of their ids."""
    metrics: list[str] = MISSING
    """What is computed on each evaluation split: `f1` is of whole entities, `macro_f1` of tags."""
    headline: str = "${.metrics[0]}"
    max_length: int = 256
    """Tokens of a row; words beyond get no tag, and count as missed."""
    class_weights: ClassWeights = ClassWeights.none
    """What a word counts in the training loss: `balanced` lets rare tags count as much."""

    @property
    def target(self) -> Target:
        """What is predicted: entities, where each tag is O or one of BIO's."""
        is_bio = all(ENTITY_TAG.fullmatch(name) for name in self.labels)
        return Target.entities if is_bio else Target.tags

    def __post_init__(self) -> None:
        Labels(self.labels)
        self.check(
            len(self.labels) >= 2, "labels", "at least two tags", example="[O,B-NAME,I-NAME]"
        )
        single = len(self.text_columns) == 1
        self.check(single, "text_columns", "one column", example="[tokens]")
        self.check(self.max_length >= 3, "max_length", "at least 3 tokens", example=256)


@dataclass
class QuestionAnsweringConfig(TaskConfig):
    """A question and a context in, a span of the context out, scored as SQuAD v1.1 is."""

    family: str = "question_answering"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    headline: str = "f1"
    max_length: int = 384
    """Tokens of one window: question, piece of the context, special tokens."""
    doc_stride: int = 128
    """Tokens of the context that two neighbouring windows share."""
    n_best_size: int = 20
    """How many starts and ends of a window are paired, and how many answers are kept."""
    max_answer_length: int = 30
    """Tokens."""

    @property
    def together(self) -> str:
        """The column of contexts: what a model learnt of one would help it with the next."""
        return "context"

    def __post_init__(self) -> None:
        self.check(self.headline in SCORES, "headline", " or ".join(SCORES), example=SCORES[-1])
        fits, length = 0 <= self.doc_stride < self.max_length, self.max_length
        below = f"at least 0 and below task.max_length={length}"
        self.check(fits, "doc_stride", below, example=length // 3)
        for key in ("n_best_size", "max_answer_length"):
            self.check(getattr(self, key) >= 1, key, "at least 1", example=20)

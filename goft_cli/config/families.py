"""Task families other than text classification: images, instructions, tokens, questions."""

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
"""Name of the split that is made from a share of the training rows."""
ENTITY_TAG = re.compile(r"O|[BIESLU]-.+")
"""Tags of the BIO schemes: O outside of entities; a prefix and the entity's type inside."""
SCORES = ("exact_match", "f1")
"""Headlines of question answering."""


@dataclass
class ImageClassificationConfig(TaskConfig):
    """Image classification: one class per image.

    `data_dir` holds one list of `relative/path class` lines per split, such as `train.txt`.
    """

    family: str = "image_classification"
    headline: str = "accuracy"
    generator: str | None = None
    """A demo of this package (`demo:NAME`), used if `data_dir` is not given."""
    metrics: list[str] = field(default_factory=lambda: ["accuracy"])
    """What is computed on each evaluation split."""
    classes: int = MISSING
    """Number of classes."""
    labels: list[str] = field(default_factory=list)
    """Names of the classes in the order of their ids; their numbers by default."""
    class_weights: ClassWeights = ClassWeights.none
    """Weight of a row in the loss: `balanced` gives every class the same total weight."""
    transform: Transform = Transform.model
    """How images are resized and normalised: by the model's own processor, or as in FacT."""

    @property
    def names(self) -> list[str]:
        """The names of the classes, in the order of their ids."""
        return self.labels or [str(number) for number in range(self.classes)]

    @property
    def strata(self) -> str:
        """The column of the class."""
        return LABEL

    @property
    def folder(self) -> Path | None:
        """The task's folder: `data_dir`, or a folder in it (as in VTAB-1K's archive)."""
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
    """The splits to train on and to score, in fields named as in `TaskConfig`."""

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
    """The splits that each selection trains on and scores."""
    transform: Transform = Transform.imagenet


def held_out(share: float) -> list[str]:
    """Name the splits that are made from a share of the training rows."""
    return [HELD_OUT] if share else []


OmegaConf.register_new_resolver("held_out", held_out, replace=True)


@dataclass
class InstructionConfig(TaskConfig):
    """Instruction tuning: an answer to an instruction and an optional input, as in Alpaca."""

    family: str = "instruction"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """Names of this task's columns in published files: `{output: response}`."""
    max_length: int = 1024
    """Longest example, in tokens; prompt and answer of a longer one are cut in proportion."""
    packing: bool = False
    """Concatenate the examples of a batch instead of padding; none attends to another."""
    global_batch: GlobalBatch | None = GlobalBatch.per_device_128
    """Examples per update over all devices; null uses the batch sizes of `trainer`."""
    holdout: float = 0.0
    """Share of the training rows that becomes the split `validation`."""
    streaming: bool = False
    """Read JSON lines in parts, and keep the rows in a memory-mapped file, not in memory."""
    eval_splits: Any = "${held_out:${.holdout}}"
    headline: str = "loss"
    greater_is_better: bool = False

    def __post_init__(self) -> None:
        self.check(self.headline in LOSSES, "headline", " or ".join(LOSSES), example=LOSSES[0])
        tokens = "at least 2 tokens, one of the prompt and one of the answer"
        self.check(self.max_length >= 2, "max_length", tokens, example=1024)
        self.check(0 <= self.holdout < 1, "holdout", "a share from 0 to below 1", example=0.05)
        plain = self.own is not None and self.own.group is None
        of_own = "false, except for data of your own without group="
        self.check(plain or not self.streaming, "streaming", of_own, example="false")


@dataclass
class TokenClassificationConfig(TaskConfig):
    """Token classification: a tag for each word; entities in BIO tags, or any other tags."""

    family: str = "token_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    text_columns: list[str] = field(default_factory=lambda: ["tokens"])
    """The column with the words: a list, or a text with blanks between them."""
    label_column: str = "tags"
    """The column with one tag for each word."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call a column of this task: `{tags: ner_tags}`."""
    labels: list[str] = MISSING
    """Names of the tags in the order of their ids."""
    metrics: list[str] = MISSING
    """Metrics of each evaluation split: `f1` scores whole entities, `macro_f1` single tags."""
    headline: str = "${.metrics[0]}"
    max_length: int = 256
    """Longest row, in tokens; later words get no tag and count as missed."""
    class_weights: ClassWeights = ClassWeights.none
    """Weight of a word in the loss: `balanced` gives every tag the same total weight."""

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
    """Extractive question answering: the answer is a span of the context; SQuAD v1.1's scores."""

    family: str = "question_answering"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    headline: str = "f1"
    max_length: int = 384
    """Tokens of one window: question, part of the context, special tokens."""
    doc_stride: int = 128
    """Tokens of the context that two neighbouring windows share."""
    n_best_size: int = 20
    """Starts and ends of a window that are paired, and answers of a question that are kept."""
    max_answer_length: int = 30
    """Tokens."""

    @property
    def together(self) -> str:
        """The column of contexts: questions on one context must not be in both splits."""
        return "context"

    def __post_init__(self) -> None:
        self.check(self.headline in SCORES, "headline", " or ".join(SCORES), example=SCORES[-1])
        fits, length = 0 <= self.doc_stride < self.max_length, self.max_length
        below = f"at least 0 and below task.max_length={length}"
        self.check(fits, "doc_stride", below, example=length // 3)
        for key in ("n_best_size", "max_answer_length"):
            self.check(getattr(self, key) >= 1, key, "at least 1", example=20)

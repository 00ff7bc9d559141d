"""Images and their classes; VTAB-1K among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from goft_cli.config.checks import check
from goft_cli.config.choices import Selection, Transform, VtabGroup
from goft_cli.config.task import TaskConfig


@dataclass
class ImageClassificationConfig(TaskConfig):
    """One image in, one class out.

    `data_dir` holds one list of `relative/path class` lines per split, such as `train.txt`.
    """

    family: str = "image_classification"
    headline: str = "accuracy"
    generator: str | None = None
    """A demo of this package (`demo:NAME`), for want of a `data_dir`."""
    classes: int = MISSING
    """Number of classes."""
    transform: Transform = Transform.model
    """How images are resized and normalised: as the model's own processor does, or as FacT does."""

    @property
    def folder(self) -> Path | None:
        """The task's folder, which `data_dir` names or holds (as VTAB-1K's archive does)."""
        folder = super().folder
        inner = None if folder is None else folder / Path(self.name).name
        return inner if inner is not None and inner.is_dir() else folder

    def __post_init__(self) -> None:
        """Check the ranges of this family."""
        check(
            self.headline == "accuracy",
            key="task.headline",
            value=self.headline,
            expected="the one metric of images",
            example="accuracy",
        )
        check(
            self.classes >= 2,
            key="task.classes",
            value=self.classes,
            expected="at least 2",
            example=10,
        )


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

"""A ridge probe: a linear readout of the base model's features, used on the adapted model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from goft_cli.config import ImageClassificationConfig, TaskConfig, TextClassificationConfig
from goft_cli.run.forgetting.features import MOST_ROWS, Rows, Similarity, base_only
from goft_cli.run.trained import TrainedRun, spread
from goft_cli.system.errors import GoftError
from goft_cli.system.files import LABEL
from goft_cli.tasks.base import Split, Task
from goft_cli.tasks.families import build_task

PENALTIES = 10.0 ** np.arange(-6, 4)
"""Penalties to try, in units of a feature's mean variance times the number of rows."""


class Probe:
    """Score of a ridge probe on a reference task, whose rows the adaptation has not seen.

    The probe is fitted once, on the base's pooled features of the task's training rows; the score
    is the task's headline on its headline's split. The drop in score is what a head trained on the
    base would lose, so features that only moved count as lost too; CKA and cosine on the same rows
    are reported beside it. Kornblith et al., "Do Better ImageNet Models Transfer Better?", CVPR
    2019, call a fit on frozen features the linear evaluation; least squares in place of the
    logistic loss give a closed form.
    """

    def __init__(self, run: TrainedRun, config: TaskConfig, batch_size: int) -> None:
        self._task, self.name = reference(run, config), f"probe:{config.name}"
        train, self._split = rows_of(self._task, run)
        rows = [Rows.of(run, self._task, one.inputs, batch_size) for one in (train, self._split)]
        with base_only(run.model):
            known = rows[0].features(f"{config.name}, base model")
        self._readout = ridge(known, targets(self._task, train)).readout
        self._alike = Similarity(self.name, rows[1])
        self.base = self._score(self._alike.features)

    def measure(self) -> dict[str, float]:
        """Score the model as it stands, and compare its features with the base's."""
        features = self._alike.rows.features(self.name)
        return self._score(features) | self._alike.compared(features)

    def _score(self, features: Tensor) -> dict[str, float]:
        found = self._task.score(self._readout(features), self._split)
        return {f"{self.name}/score": found[self._task.config.headline]}


@dataclass(frozen=True)
class Ridge:
    """A linear map with an intercept, and the penalty that it was fitted with."""

    weights: Tensor
    """(width, outputs), float64."""
    intercept: Tensor
    """(outputs,)"""
    penalty: float
    """The factor of the squared weights beside the sum of squared errors over the rows."""

    def readout(self, features: Tensor) -> np.ndarray:
        """Return the (rows, outputs) answers to (rows, width) features."""
        return (features.double() @ self.weights + self.intercept).numpy()


def ridge(features: Tensor, answers: Tensor) -> Ridge:
    """Fit (rows, outputs) answers by (rows, width) features with the best of `PENALTIES`.

    Each row is held out in turn: its error is the fit's error divided by 1 - h, where h is the
    row's leverage, so no second fit is needed (Allen's PRESS, Technometrics 1974). The penalty with
    the least sum of squared errors is taken; the intercept is not penalised.
    """
    mean, middle = features.double().mean(dim=0), answers.double().mean(dim=0)
    left, sizes, right = torch.linalg.svd(features.double() - mean, full_matrices=False)
    seen, squares = left.T @ (answers.double() - middle), sizes**2
    unit = float(squares.sum()) / features.shape[1] or 1.0

    def held_out(penalty: float) -> float:
        kept = squares / (squares + penalty)
        errors = answers.double() - middle - left @ (kept.unsqueeze(1) * seen)
        leverage = (left**2 @ kept + 1 / len(features)).clamp(max=1 - 1e-9)
        return float((errors / (1 - leverage).unsqueeze(1)).square().sum())

    penalty = min((unit * float(share) for share in PENALTIES), key=held_out)
    weights = right.T @ ((sizes / (squares + penalty)).unsqueeze(1) * seen)
    return Ridge(weights, middle - mean @ weights, penalty)


def reference(run: TrainedRun, config: TaskConfig) -> Task[Any, Any]:
    """Build the reference task, and refuse one that a probe or the run's model cannot read."""
    task = build_task(config)
    if not isinstance(config, TextClassificationConfig | ImageClassificationConfig):
        raise GoftError(
            f"retain={{probe: {config.name}}}: a probe reads one answer from a whole input, and "
            f"{config.name} is of family {config.family}",
            "pass a classification of texts or images, such as retain='{probe: glue/sst2}'",
        )
    if task.processor_class != run.task.processor_class:
        raise GoftError(
            f"retain={{probe: {config.name}}}: the model of task {run.task.config.name} does not "
            f"read what {config.name} consists of",
            "pass a task of the same kind of input",
        )
    return task


def rows_of(task: Task[Any, Any], run: TrainedRun) -> tuple[Split, Split]:
    """Return up to 5,000 encoded rows to fit on, and as many to score."""
    config = task.config
    data = task.load_some([*dict.fromkeys([config.train_split, config.headline_split])])
    found = []
    for name in (config.train_split, config.headline_split):
        rows = data.splits[name]
        rows = rows.select(spread(len(rows), MOST_ROWS))
        found.append(task.split(rows, run.backbone.processor))
    return found[0], found[1]


def targets(task: Task[Any, Any], split: Split) -> Tensor:
    """Return (rows, outputs) targets: numbers as they are; for classes, 1 if true and -1 if not.

    A label is predicted to be in a set of labels if its output is above 0.
    """
    config = task.config
    if isinstance(config, ImageClassificationConfig):
        return signs(split.rows[LABEL], config.classes)
    values = split.rows[config.label_column]
    if config.multi_label:
        chosen = [[label in row for label in config.labels] for row in values]
        return 2 * torch.tensor(chosen, dtype=torch.float64) - 1
    if not config.labels:
        return torch.tensor(list(values), dtype=torch.float64).unsqueeze(1)
    return signs(values, len(config.labels))


def signs(classes: Any, count: int) -> Tensor:  # noqa: ANN401 - a column of numbers
    """Return (rows, count) targets of 1 for each row's class and -1 for the others."""
    places = torch.tensor(list(cast(Any, classes)))
    return 2 * torch.nn.functional.one_hot(places, count).double() - 1

"""Score a model, and hold the rebuilt and the merged model against the trained one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sized
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from goft_cli.config import TRAIN_SAMPLE
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Arrays, Collator, Split, Task, TaskData

# Each linear layer rounds once more on either side, so differences grow as a random walk in the
# number of layers, times the gain of the layers in between: 7 measured on MiniLM-L6, 1 to 19 on
# tiny-deberta-v3. Past a quarter of the outputs' size no rounding is an excuse, bfloat16 included.
GAIN = 100.0
LARGEST = 0.25

SAMPLE_ROWS = 64
"""How many training rows stand in for the evaluation splits of a task that has none."""

PADDING = -100.0
"""What Trainer fills outputs of shorter batches up with."""


class InOrder(Trainer):
    """Evaluates every row, and in order, on which scores and predictions rely.

    Trainer itself groups evaluation rows by length too where `train_sampling_strategy` says so, and
    leaves an incomplete last batch out where `dataloader_drop_last` does.
    """

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> Any:  # noqa: ANN401 - Trainer's own
        given, self.args = self.args, copy(self.args)
        self.args.dataloader_drop_last &= is_training
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)
        finally:
            self.args = given

    def _get_eval_sampler(self, eval_dataset: Dataset) -> SequentialSampler | None:
        # In several processes accelerate shares the rows out, in order.
        return SequentialSampler(cast(Sized, eval_dataset)) if self.args.world_size <= 1 else None


def evaluation_splits(task: Task[Any, Any], data: TaskData, processor: object) -> dict[str, Split]:
    """Encode the evaluation splits, or for want of any a few training rows."""
    rows = {name: data.splits[name] for name in task.config.eval_splits}
    if not rows:
        train = data.splits[task.config.train_split]
        rows = {TRAIN_SAMPLE: train.select(range(min(SAMPLE_ROWS, len(train))))}
    return {name: Split(split, task.encode(split, processor)) for name, split in rows.items()}


def run_model(
    model: nn.Module,
    task: Task[Any, Any],
    splits: Mapping[str, Split],
    collate: Collator,
    arguments: TrainingArguments,
) -> dict[str, Arrays]:
    """Run a whole model over every split; see `run_trainer`."""
    quiet = copy(arguments)
    quiet.eval_strategy, quiet.load_best_model_at_end = IntervalStrategy.NO, False
    quiet.report_to = []
    reduce: Callable[..., Any] = task.reduce  # Trainer believes a batch's outputs to be one tensor
    trainer = InOrder(
        model=model, args=quiet, data_collator=collate, preprocess_logits_for_metrics=reduce
    )
    trainer.remove_callback(PrinterCallback)
    return run_trainer(trainer, splits)


def run_trainer(trainer: InOrder, splits: Mapping[str, Split]) -> dict[str, Arrays]:
    """Run a trainer's model over every split, in evaluation mode and the run's precision.

    A model that is shared out among processes has to be run by the trainer that trained it. Of each
    split comes what the task keeps of the outputs, in float32; in several processes, rows repeated
    to fill a batch are dropped again.
    """
    trainer.compute_metrics = None  # which know the rows of one split
    inputs = {name: cast("Dataset[Any]", s.inputs) for name, s in splits.items()}
    return {name: single(trainer.predict(rows).predictions) for name, rows in inputs.items()}


def single(values: Arrays) -> Arrays:
    """Convert one array, or each of several, to float32."""
    if isinstance(values, tuple):
        return tuple(np.asarray(value, dtype=np.float32) for value in values)
    return np.asarray(values, dtype=np.float32)


def score_splits(
    task: Task[Any, Any], outputs: Mapping[str, Arrays], splits: Mapping[str, Split]
) -> dict[str, dict[str, float]]:
    """Return the metrics of each split."""
    return {name: task.score(found, splits[name]) for name, found in outputs.items()}


def tolerance(dtype: torch.dtype, layers: int) -> float:
    """Largest relative difference of outputs that rounding explains.

    The two models compute so many adapted linear layers differently, in a forward pass of dtype.
    """
    return min(LARGEST, GAIN * math.sqrt(max(layers, 1)) * torch.finfo(dtype).eps)


@dataclass(frozen=True)
class Difference:
    """How far outputs are apart, relative to their root mean square: at most, and on average.

    Outputs smaller than 1 are compared absolutely: a softmax sees differences, not ratios. NaN on
    either side counts as infinity.
    """

    largest: float
    mean: float


def largest_difference(one: Mapping[str, Arrays], other: Mapping[str, Arrays]) -> Difference:
    """Return how far the outputs of two models on the same rows are apart."""
    apart = np.concatenate(
        [
            relative_differences(reference, again)
            for name, found in one.items()
            for reference, again in zip(several(found), several(other[name]), strict=True)
        ]
    )
    return Difference(float(apart.max()), float(apart.mean()))


def relative_differences(reference: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Return the difference of each output that is no padding, flat."""
    scale = max(1.0, float(np.sqrt(np.mean(np.square(reference[reference != PADDING])))))
    apart = np.abs(reference - again) / scale
    apart[~np.isfinite(apart)] = math.inf
    return apart[(reference != PADDING) | (again != PADDING)]


def several(values: Arrays) -> tuple[np.ndarray, ...]:
    """Treat one array as a tuple of one."""
    return values if isinstance(values, tuple) else (values,)


def require_agreement(
    what: str, trained: Mapping[str, Arrays], other: Mapping[str, Arrays], allowed: float
) -> float:
    """Fail the run if a rebuilt or merged model is not the trained one; return `largest`."""
    found = largest_difference(trained, other).largest
    if not found <= allowed:
        raise GoftError(
            f"the {what} model differs from the trained one: outputs are {found:.2g} apart "
            f"(relative), rounding explains {allowed:.2g}",
            "the run is kept unfinished, do not use its adapter, and please report this with its "
            "manifest.json",
        )
    return found

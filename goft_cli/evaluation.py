"""Score a model, and hold the rebuilt and the merged model against the trained one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from goft_cli.errors import GoftError
from goft_cli.tasks.base import Collator, Task

# Each linear layer rounds once more on either side, so differences grow as a random walk in the
# number of layers, times the gain of the layers in between: 7 measured on MiniLM-L6, 1 to 19 on
# tiny-deberta-v3. Past a quarter of the outputs' size no rounding is an excuse, bfloat16 included.
GAIN = 100.0
LARGEST = 0.25


@dataclass(frozen=True)
class Outputs:
    """Raw model outputs of one split, in row order.

    Attributes:
        values: (rows, labels).
        references: (rows,), or None for rows without targets.
    """

    values: np.ndarray
    references: np.ndarray | None


def run_model(
    model: nn.Module, rows: Mapping[str, Dataset], collate: Collator, arguments: TrainingArguments
) -> dict[str, Outputs]:
    """Run a model over every split, in evaluation mode and the run's precision."""
    quiet = copy(arguments)
    quiet.eval_strategy, quiet.load_best_model_at_end = IntervalStrategy.NO, False
    quiet.report_to = []
    trainer = Trainer(model=model, args=quiet, data_collator=collate)
    trainer.remove_callback(PrinterCallback)
    return {name: outputs_of(trainer, split) for name, split in rows.items()}


def outputs_of(trainer: Trainer, split: Dataset) -> Outputs:
    """Run one split; in several processes, rows repeated to fill a batch are dropped again."""
    found = trainer.predict(cast("torch.utils.data.Dataset[Any]", split))
    references = None if found.label_ids is None else np.asarray(found.label_ids)
    return Outputs(np.asarray(found.predictions, dtype=np.float32), references)


def score_splits(task: Task[Any], outputs: Mapping[str, Outputs]) -> dict[str, dict[str, float]]:
    """Return the metrics of each split that has references."""
    return {
        name: task.score(found.values, np.asarray(found.references))
        for name, found in outputs.items()
        if found.references is not None
    }


def tolerance(dtype: torch.dtype, layers: int) -> float:
    """Largest relative difference of outputs that rounding explains.

    Args:
        dtype: the precision of the forward pass.
        layers: adapted linear layers that the two models compute differently.
    """
    return min(LARGEST, GAIN * math.sqrt(max(layers, 1)) * torch.finfo(dtype).eps)


def largest_difference(one: Mapping[str, Outputs], other: Mapping[str, Outputs]) -> float:
    """Return the largest difference of any output, relative to the outputs' root mean square.

    Outputs smaller than 1 are compared absolutely: a softmax sees differences, not ratios. NaN,
    where either side has one, is returned as infinity.
    """
    worst = 0.0
    for name, reference in one.items():
        scale = max(1.0, float(np.sqrt(np.mean(np.square(reference.values)))))
        difference = float(np.max(np.abs(reference.values - other[name].values))) / scale
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


def require_agreement(
    what: str, trained: Mapping[str, Outputs], other: Mapping[str, Outputs], allowed: float
) -> float:
    """Fail the run if a rebuilt or merged model is not the trained one.

    Returns:
        the largest relative difference of outputs.

    Raises:
        GoftError: the difference is larger than rounding explains.
    """
    found = largest_difference(trained, other)
    if not found <= allowed:
        raise GoftError(
            f"the {what} model differs from the trained one: outputs are {found:.2g} apart "
            f"(relative), rounding explains {allowed:.2g}; the run is kept unfinished, do not use "
            "its adapter, and please report this with its manifest.json"
        )
    return found

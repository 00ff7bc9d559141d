"""Scores a model, and compares the rebuilt and the merged model with the trained one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from goft_cli.config import TRAIN_SAMPLE
from goft_cli.system.errors import UnusableError
from goft_cli.tasks.base import Arrays, Collator, Reduce, Split, Task, TaskData, Tensors
from goft_cli.training.by_length import LongestFirst, weight_of

# Each linear layer rounds once more on either side, so differences grow as a random walk in the
# number of layers, times the gain of the layers in between: 7 measured on MiniLM-L6, 1 to 19 on
# tiny-deberta-v3. Rounding never explains more than a quarter of the outputs' size, even bfloat16.
GAIN = 100.0
LARGEST = 0.25

SAMPLE_ROWS = 64
"""Training rows to score for a task without evaluation splits."""

COMPARED_ROWS = 5000
"""Most model inputs of a split on which the rebuilt and the merged model are compared."""

STATES = ("past_key_values", "encoder_last_hidden_state")
"""Further outputs of models, which no task reads."""

PADDING = -100.0
"""Padding value for the outputs of shorter batches."""


class InOrder(Trainer):
    """Evaluates every row in the given order, and stores the result of `reduce` for each batch.

    Trainer would apply `train_sampling_strategy` and `dataloader_drop_last` to evaluation too. It
    would also store the targets of all rows, which are not needed.
    """

    def __init__(self, *args: Any, reduce: Reduce | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        super().__init__(*args, **kwargs)
        self._reduce = reduce
        self._losses = [0.0, 0.0]  # of this evaluation: their sum over all values, and the values

    def mean_loss(self) -> dict[str, float]:
        """Return `{"loss": mean}` of the evaluation that ends; the next one starts at 0.

        Beside the metrics, it replaces Trainer's own `eval_loss`, which gives each row the mean of
        its batch. Here each scored token, or each row if a row has one target, counts alike. A
        batch whose loss is not finite is left out, as in Trainer.
        """
        sums, self._losses = self._losses, [0.0, 0.0]
        if self.args.world_size > 1:
            own = torch.tensor(sums, dtype=torch.float64, device=self.args.device)
            sums = cast("Tensor", self.accelerator.reduce(own)).tolist()
        total, values = sums
        return {"loss": total / values} if values else {}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - a loss, or a loss and outputs
        """Return the loss, in an evaluation the mean of the batch.

        Newer Trainers count the items of evaluation batches too, which would weight the loss by
        class, and multiply it by the number of processes.
        """
        items = num_items_in_batch if model.training else None
        return super().compute_loss(model, inputs, return_outputs, items)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Tensor | None]:
        """Return the loss of a batch, its reduced outputs, and a mark that it has targets.

        The raw outputs are reduced here, before processes exchange them.
        """
        batch = self._prepare_inputs(inputs)
        if ignore_keys is None:
            known = getattr(self.model, "config", None)
            ignore_keys = [*getattr(known, "keys_to_ignore_at_inference", []), *STATES]
        loss, found, targets = super().prediction_step(
            model, batch, prediction_loss_only, ignore_keys
        )
        if loss is not None and torch.isfinite(loss):
            values, (total, before) = weight_of(self._own_rows(batch)), self._losses
            self._losses = [total + loss.item() * values, before + values]
        if found is None:
            return loss, None, targets
        kept = self._reduce(cast(Tensors, found), batch) if self._reduce else found
        first = as_tuple(kept)[0]
        return loss, kept, None if targets is None else first.new_zeros(len(first))

    def _own_rows(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch without the rows with which accelerate fills the last ones."""
        state = self.accelerator.gradient_state
        if self.args.world_size == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return batch
        rows = len(next(iter(batch.values())))
        own = max(0, state.remainder - self.args.process_index * rows)
        return {name: value[:own] for name, value in batch.items()}

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
    """Encode the evaluation splits; if there are none, a few training rows."""
    rows = {name: data.splits[name] for name in task.config.eval_splits}
    if not rows:
        train = data.splits[task.config.train_split]
        rows = {TRAIN_SAMPLE: train.select(range(min(SAMPLE_ROWS, len(train))))}
    return {name: task.split(split, processor) for name, split in rows.items()}


def run_model(
    model: nn.Module,
    task: Task[Any, Any],
    splits: Mapping[str, Split],
    collate: Collator,
    arguments: TrainingArguments,
) -> dict[str, Arrays]:
    """Run a whole model over every split, in inference mode; see `run_trainer`."""
    quiet = copy(arguments)
    quiet.eval_strategy, quiet.load_best_model_at_end = IntervalStrategy.NO, False
    quiet.report_to = []
    trainer = InOrder(model=model, args=quiet, data_collator=collate, reduce=task.reduce)
    trainer.remove_callback(PrinterCallback)
    with torch.inference_mode():
        return run_trainer(trainer, splits)


def run_trainer(trainer: InOrder, splits: Mapping[str, Split]) -> dict[str, Arrays]:
    """Run a trainer's model over every split, in evaluation mode and the run's precision.

    A sharded model must be run by the trainer that trained it. The longest rows are run first; the
    outputs, as `reduce` returns them, in float32, are returned in the order of the split. With
    several processes, rows that were repeated to fill a batch are removed.
    """
    trainer.compute_metrics = None  # they are made for the rows of one split
    found = {}
    for name, split in splits.items():
        ordered = LongestFirst.of(split.inputs)
        predictions = trainer.predict(cast("Dataset[Any]", ordered.inputs)).predictions
        found[name] = ordered.restore(join_batches(predictions))
    return found


def join_batches(batches: Arrays | Sequence[Arrays]) -> Arrays:
    """Join the outputs of batches: numbers as float32, indices unchanged."""
    parts = batches if isinstance(batches, list) else [batches]
    if isinstance(parts[0], tuple):
        return tuple(joined(cast(Any, values)) for values in zip(*parts, strict=True))
    return joined(cast("list[np.ndarray]", parts))


def joined(batches: Sequence[np.ndarray]) -> np.ndarray:
    """Join arrays along their first dimension; narrower ones are padded along the second."""
    widest = max(batch.shape[1:2] for batch in batches)
    filled = [
        batch
        if batch.shape[1:2] == widest
        else np.pad(
            batch,
            [(0, 0), (0, widest[0] - batch.shape[1]), *[(0, 0)] * (batch.ndim - 2)],
            constant_values=PADDING,
        )
        for batch in batches
    ]
    whole = np.concatenate(filled)
    return whole if np.issubdtype(whole.dtype, np.integer) else whole.astype(np.float32, copy=False)


def score_splits(
    task: Task[Any, Any], outputs: Mapping[str, Arrays], splits: Mapping[str, Split]
) -> dict[str, dict[str, float]]:
    """Return the metrics of each split."""
    return {name: task.score(found, splits[name]) for name, found in outputs.items()}


def tolerance(dtype: torch.dtype, layers: int) -> float:
    """Largest relative difference of outputs that rounding explains.

    The two models compute `layers` adapted linear layers differently, in a forward pass of dtype.
    """
    return min(LARGEST, GAIN * math.sqrt(max(layers, 1)) * torch.finfo(dtype).eps)


@dataclass(frozen=True)
class Difference:
    """Largest and mean difference of outputs, relative to their root mean square.

    Outputs smaller than 1 are compared absolutely: a softmax sees differences, not ratios. NaN on
    either side counts as infinity.
    """

    largest: float
    mean: float


def output_difference(one: Mapping[str, Arrays], other: Mapping[str, Arrays]) -> Difference:
    """Return the largest and mean difference of two models' outputs on the same rows.

    Integers are indices of outputs, for example of the largest logits: they are not compared,
    because rounding may swap two of them.
    """
    apart = np.concatenate(
        [
            relative_differences(reference, again)
            for name, found in one.items()
            for reference, again in zip(as_tuple(found), as_tuple(other[name]), strict=True)
            if not np.issubdtype(reference.dtype, np.integer)
        ]
    )
    return Difference(float(apart.max()), float(apart.mean()))


def relative_differences(reference: np.ndarray, again: np.ndarray) -> np.ndarray:
    """Return the difference of each output that is not padding, flattened."""
    scale = max(1.0, float(np.sqrt(np.mean(np.square(reference[reference != PADDING])))))
    apart = np.abs(reference - again) / scale
    apart[~np.isfinite(apart)] = math.inf
    return apart[(reference != PADDING) | (again != PADDING)]


def as_tuple(values: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays or tensors
    """Treat one array or tensor as a tuple of one."""
    return values if isinstance(values, tuple) else (values,)


def require_agreement(
    what: str, trained: Mapping[str, Arrays], other: Mapping[str, Arrays], allowed: float
) -> float:
    """Fail the run if a rebuilt or merged model differs from the trained one; return `largest`."""
    found = output_difference(trained, other).largest
    if not found <= allowed:
        raise UnusableError(
            f"the {what} model differs from the trained one: outputs are {found:.2g} apart "
            f"(relative), rounding explains {allowed:.2g}",
            "the run is kept unfinished, do not use its adapter, and please report this with its "
            "manifest.json",
        )
    return found

"""Pooled features of rows, and the similarity of two models' features."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.system.screen import counting
from goft_cli.tasks.base import Collator, Inputs, Task
from goft_cli.training.by_length import LongestFirst
from goft_cli.tuner import set_strength, strength_of

MOST_ROWS = 5000
"""The most rows to compare features on; the base's stay in memory, 20 MB at width 1,000."""
TARGETS = ("labels",)
"""Name of the targets in most tasks; they are left out, since no loss is needed."""
SEQUENCE = 3
"""Dimensions of hidden states (rows, tokens, width); feature maps have another number."""
CONSTANT = 1e-6
"""Features with a smaller relative variation are equal up to float32 rounding."""


@contextmanager
def base_only(model: PeftModel) -> Iterator[None]:
    """Let a model compute its base's hidden states within the block, whatever its strength."""
    if all(getattr(one, "bias", "none") == "none" for one in model.peft_config.values()):
        with model.disable_adapter():
            yield
        return
    strength = strength_of(model)  # PEFT's disable_adapter does not undo biases that train in place
    set_strength(model, 0)
    try:
        yield
    finally:
        set_strength(model, strength)


@dataclass(frozen=True)
class Rows:
    """Encoded rows, to run a run's model on in batches."""

    run: TrainedRun
    inputs: Inputs
    collate: Collator
    batch_size: int

    @classmethod
    def of(cls, run: TrainedRun, task: Task[Any, Any], inputs: Inputs, batch_size: int) -> Rows:
        """Return rows as a task encodes them."""
        return cls(run, inputs, task.collate(run.backbone.processor), batch_size)

    def features(self, title: str) -> Tensor:
        """Return the (rows, width) pooled features of the model as it stands, float32 on the CPU.

        They are in the order of the rows, although the longest rows run first.
        """
        found = [pooled(self.run, batch).float().cpu() for batch in self.batches(title)]
        places = np.argsort(LongestFirst.of(self.inputs).order)
        return torch.cat(found)[torch.from_numpy(places)]

    def batches(self, title: str) -> Iterator[dict[str, Tensor]]:
        """Yield batches on the run's device, the longest rows first, and show how many are done.

        Targets are left out.
        """
        model, device = self.run.model, self.run.arguments(self.batch_size).device
        known = {*inspect.signature(model.get_base_model().forward).parameters}
        ordered = LongestFirst.of(self.inputs)
        inputs = ordered.inputs
        if isinstance(inputs, Dataset):
            inputs = inputs.select_columns(sorted(known & {*inputs.column_names}))
        loader = DataLoader(cast(Any, inputs), self.batch_size, collate_fn=self.collate)
        model.to(device).eval()
        with counting(title, len(ordered.order)) as advance:
            for batch in loader:
                names = (known & {*batch}) - {*TARGETS, *self.run.task.label_names}
                given = {name: batch[name].to(device) for name in names}
                yield given
                advance(max(map(len, given.values())))


def pooled(run: TrainedRun, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the (rows, width) means of the last hidden states over the tokens or patches.

    Padding is left out. One definition serves encoders, decoders and vision models: the token that
    a head reads differs by family, and in most models pretraining did not make it represent the
    whole input.
    """
    hidden = hidden_states(run, batch).float()
    if hidden.dim() != SEQUENCE:  # (rows, channels, height, width)
        return hidden.flatten(2).mean(dim=-1)
    mask = batch.get("attention_mask")
    if mask is None or mask.shape != hidden.shape[:2]:
        return hidden.mean(dim=1)
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def hidden_states(run: TrainedRun, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the hidden states of the model below its head for a batch, in the run's precision.

    A few architectures have no module for that part, or do not call it as a whole (OPT); for these,
    the last of the hidden states that the model returns are taken.
    """
    plain = cast(PreTrainedModel, run.model.get_base_model())
    below, kept = plain.base_model, list[Any]()
    # the whole model runs, since only it knows its parts' inputs, such as those of T5's decoder
    hook = below.register_forward_hook(lambda *call: kept.append(call[-1]))
    try:
        with torch.inference_mode(), autocast(run, plain.device):
            if below is not plain:
                plain(**batch)
            if kept:
                return kept[-1][0]
            found = plain(**batch, output_hidden_states=True)
    finally:
        hook.remove()
    return (found.get("hidden_states") or found["decoder_hidden_states"])[-1]


def autocast(run: TrainedRun, device: torch.device) -> torch.autocast:
    """Compute in half precision where the run did."""
    trainer = run.cfg.trainer
    half = torch.float16 if trainer.fp16 else torch.bfloat16
    return torch.autocast(device.type, half, enabled=trainer.fp16 or trainer.bf16)


class Similarity:
    """Linear CKA and mean cosine of pooled features against the base model's.

    CKA: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
    section 3; for features X and Y with centred columns |YᵀX|² / (|XᵀX| |YᵀY|), Frobenius norms.
    It is 1 for features that a rotation and one scale turn into the base's, 0 for unrelated ones.
    Fewer rows than features make it larger. The cosine is that of a row's two features, averaged
    over rows; it depends on rotations and on the mean, which CKA ignores.
    """

    def __init__(self, name: str, rows: Rows) -> None:
        self.name, self.rows, self.base = name, rows, dict[str, float]()
        with base_only(rows.run.model):
            self.features = rows.features(f"{name}, base model")
        if is_constant(centred(self.features), self.features):
            raise GoftError(
                f"retain: the base model's features of the {len(self.features)} rows of {name} "
                "are all equal",
                "choose another measure, or data with rows that differ",
            )

    def measure(self) -> dict[str, float]:
        """Compare the features of the model as it stands."""
        return self.compared(self.rows.features(self.name))

    def compared(self, features: Tensor) -> dict[str, float]:
        """Compare (rows, width) features with the base's of the same rows."""
        cka, cosine = linear_cka(self.features, features), mean_cosine(self.features, features)
        return {f"{self.name}/cka": cka, f"{self.name}/cosine": cosine}


def centred(features: Tensor) -> Tensor:
    """Return the features in float64, the mean of each column subtracted."""
    wide = features.double()
    return wide - wide.mean(dim=0)


def is_constant(varying: Tensor, features: Tensor) -> bool:
    """Tell whether features are the same for all rows, rounding aside."""
    return bool(varying.norm() <= CONSTANT * features.double().norm())


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Return the linear CKA of (rows, width) features, whose widths may differ: 0 to 1.

    It is 0 where the features of either are all equal. See `Similarity`.
    """
    x, y = centred(one), centred(other)
    if is_constant(x, one) or is_constant(y, other):
        return 0.0
    shared = (y.T @ x).norm() ** 2
    return float(shared / ((x.T @ x).norm() * (y.T @ y).norm()))


def mean_cosine(one: Tensor, other: Tensor) -> float:
    """Return the mean cosine of the angle between rows of two (rows, width) features."""
    return float(torch.cosine_similarity(one.double(), other.double(), dim=1).mean())

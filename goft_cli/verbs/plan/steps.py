"""Updates and evaluations on one batch, as a run makes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from goft_cli.config import TrainerConfig
from goft_cli.tasks.base import Reduce
from goft_cli.training.evaluation import STATES
from goft_cli.tuner.penalty import total_penalty


@dataclass(frozen=True)
class Batches:
    """The largest batches of a run: names and tensors of an update's and of an evaluation's."""

    trained: Mapping[str, Tensor]
    scored: Mapping[str, Tensor]


def as_trained(model: PeftModel, trainer: TrainerConfig) -> None:
    """Set a model up as Trainer does."""
    model.train()
    cast("PreTrainedModel", model.get_base_model()).config.use_cache = False
    if trainer.gradient_checkpointing:
        model.gradient_checkpointing_enable()


def loss_of(
    model: PeftModel, inputs: Mapping[str, Tensor], trainer: TrainerConfig, device: str
) -> Tensor:
    """Return the task's loss and the adapter's penalty, if it has one, in the run's precision."""
    with autocast(trainer, device):
        loss, penalty = model(**inputs).loss, total_penalty(model)
    return loss if penalty is None else loss + penalty


def evaluate(
    model: PeftModel,
    inputs: dict[str, Tensor],
    trainer: TrainerConfig,
    device: str,
    reduce: Reduce,
) -> None:
    """Run a batch and reduce its outputs as `InOrder` does."""
    with torch.no_grad(), autocast(trainer, device):
        found = model(**inputs)
    left_out = {"loss", *STATES}
    first, *more = [value.float() for name, value in found.items() if name not in left_out]
    reduce((first, *more) if more else first, inputs)


def autocast(trainer: TrainerConfig, device: str) -> AbstractContextManager[object]:
    """Compute in half precision where the trainer will."""
    if trainer.bf16 or trainer.fp16:
        return torch.autocast(device, torch.bfloat16 if trainer.bf16 else torch.float16)
    return nullcontext()

"""One training step, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft import PeftModel
from peft.tuners.adalora import AdaLoraModel
from torch import Tensor, nn

from benchmarks.methods import Prepared
from goft_cli.trainer import forget_penalties, total_penalty

LEARNING_RATE = 1e-4
# AdamW's usual 1e-8 is 0 in float16.
EPSILON = 1e-6


class Trainee:
    """A model with its optimizer: `step` is what is timed.

    Attributes:
        loss: () of the last step, the penalty included.
    """

    loss: Tensor

    def __init__(self, prepared: Prepared, inputs: Mapping[str, Tensor]) -> None:
        self.model, self.inputs = prepared.model, dict(inputs)
        # As peft's task models do; a PeftModel without a task goes past AdaLoRA's regulariser.
        self.forward = self.model.base_model if isinstance(self.model, PeftModel) else self.model
        # What transformers.Trainer uses by default.
        self.optimizer = (
            torch.optim.AdamW(prepared.trainable, lr=LEARNING_RATE, eps=EPSILON, fused=True)
            if prepared.trainable
            else None
        )
        self.steps = 0

    def step(self) -> None:
        """Forward, loss and penalty, backward, AdamW; AdaLoRA's budget where there is one."""
        forget_penalties(self.model)
        loss = self.forward(**self.inputs).loss
        penalty = total_penalty(self.model)
        if penalty is not None:
            loss = loss + penalty
        loss.backward()
        self.loss = loss.detach()
        self.steps += 1
        if self.optimizer is None:
            return
        self.optimizer.step()
        allocate_budget(self.model, self.steps)
        self.optimizer.zero_grad(set_to_none=True)


def allocate_budget(model: nn.Module, step: int) -> None:
    """AdaLoRA asks to be called after every update, while the gradients are there."""
    if isinstance(model, PeftModel) and isinstance(model.base_model, AdaLoraModel):
        model.base_model.update_and_allocate(step)

"""What layers ask to be added to the loss, for any training loop and for transformers.Trainer.

A layer takes part by offering `penalty: Tensor | None`, already weighted, after a forward pass in
training. Reading that, and not the parameters, also works where parameters are sharded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from goft_cli.training.live import geometry_scalars

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object


def own_penalty(module: nn.Module) -> Tensor | None:
    """Return what a module itself left: PEFT's wrappers also answer for what they wrap."""
    penalty = vars(module).get("penalty")
    return penalty if isinstance(penalty, Tensor) else None


def forget_penalties(model: nn.Module) -> None:
    """Drop what an earlier pass left: a layer skipped in this one must not count again."""
    for module in model.modules():
        if own_penalty(module) is not None:
            object.__setattr__(module, "penalty", None)


def total_penalty(model: nn.Module) -> Tensor | None:
    """Sum what the layers' last training forward left; None when nothing asks for a penalty."""
    found = [own_penalty(module) for module in model.modules()]
    penalties = [penalty for penalty in found if penalty is not None]
    return torch.stack(penalties).sum() if penalties else None


class PenaltyMixin(Base):
    """Put before transformers.Trainer: adds the penalty to the loss, logs it and the rotations.

    What is logged as `loss` stays the task loss alone. A tracker also gets how far the rotations
    have turned, see `goft_cli.training.live`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Trainer's own
        super().__init__(*args, **kwargs)
        self._penalty_of_step: Tensor | None = None
        self._penalty_sum = 0.0
        self._penalty_updates = 0.0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the task loss, plus the penalty while training."""
        forget_penalties(model)
        self._penalty_of_step = None
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if model.training:
            penalty = total_penalty(model)
            if penalty is not None:
                self._penalty_of_step = penalty.detach() / self.current_gradient_accumulation_steps
                loss = loss + penalty / self._division_still_to_come(num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _division_still_to_come(self, num_items_in_batch: Tensor | int | None) -> int:
        """Trainer divides a loss by the accumulation steps unless the model normalised it."""
        normalised = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        return self.current_gradient_accumulation_steps if normalised else 1

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the task loss of one micro-batch, its gradients and the penalty's in place."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._penalty_of_step is None:
            return loss
        self._penalty_sum += self._penalty_of_step.item()
        self._penalty_updates += 1 / self.current_gradient_accumulation_steps
        return loss - self._penalty_of_step

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean penalty per update beside the task loss, and for a tracker the rotations."""
        if "loss" in logs and self._penalty_updates:
            logs["penalty"] = self._penalty_sum / self._penalty_updates
            self._penalty_sum = self._penalty_updates = 0.0
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if "loss" in logs and self.args.report_to and not sharded:
            logs |= geometry_scalars(cast("nn.Module", self.model))
        super().log(logs, start_time)

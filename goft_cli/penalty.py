"""What layers ask to be added to the loss, for any training loop and for transformers.Trainer.

A layer takes part by offering `penalty: Tensor | None`, already weighted, after a forward pass in
training. Reading that, and not the parameters, also works where parameters are sharded.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from goft_cli.training.live import geometry_scalars
from goft_cli.tuner.penalty_in_loss import apart, forget_penalties, states, sum_of_penalties

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object


def total_penalty(model: nn.Module) -> Tensor | None:
    """Sum what the last training pass has left to add to the loss; None where nothing asks for it.

    Zero where it is in the loss already: a model with GOFT adapters puts it into the loss that it
    returns, which it does if it is called with labels.
    """
    for state in states(model):
        state.taken()
    return sum_of_penalties(model)


class PenaltyMixin(Base):
    """Put before transformers.Trainer: adds the penalty to the loss, logs it and the rotations.

    What is logged as `loss` stays the task loss alone, except on several GPUs without a launcher,
    whose copies of the model add the penalty themselves. A tracker also gets how far the rotations
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
        with apart(model) if self.args.n_gpu <= 1 else nullcontext():
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if model.training:
            penalty = total_penalty(model)
            if penalty is not None:
                self._penalty_of_step = penalty.detach() / self.current_gradient_accumulation_steps
                loss = loss + penalty / self._division_still_to_come(num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _division_still_to_come(self, num_items_in_batch: Tensor | int | None) -> int:
        """Return what Trainer does not divide by: it leaves a loss alone that is scaled already."""
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            normalised = self.model_accepts_loss_kwargs and num_items_in_batch is not None
            scaled = normalised or self.compute_loss_func is not None
        return self.current_gradient_accumulation_steps if scaled else 1

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

"""Training that cannot go on stops while the weights are still good."""

from __future__ import annotations

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from goft_cli.system.errors import GoftError


class FiniteGradients(TrainerCallback):
    """Stops before an update that would spoil the weights.

    Attention can hide a NaN from the loss but not from the gradients.
    """

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: object,
    ) -> None:
        """Check the accumulated gradients."""
        if model is None or args.fp16:  # fp16's loss scaler expects infinities and skips them
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not torch.isfinite(nn.utils.get_total_norm(gradients)):
            raise diverged("a gradient is not finite", state)


def diverged(what: str, state: TrainerState) -> GoftError:
    """Return the error for a training that cannot go on."""
    return GoftError(
        f"{what} at step {state.global_step + 1}",
        "training stopped and the last checkpoint is kept: try a lower trainer.learning_rate, or "
        "trainer.bf16 in place of trainer.fp16",
    )

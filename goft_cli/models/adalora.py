"""PEFT's AdaLoRA with a separate penalty and a rank allocation that can be resumed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import torch
from peft import AdaLoraConfig, PeftModel
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.adalora.layer import AdaLoraLayer
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

AVERAGES = {"ipt", "exp_avg_ipt", "exp_avg_unc"}
"""PEFT's names for the importance of each weight, its running mean and that mean's uncertainty."""


class AdaLora(AdaLoraModel):
    """PEFT's AdaLoRA with an orthogonality penalty that is separate from the loss.

    PEFT adds it to every loss: in evaluation too, unscaled in each micro-batch of a model that
    normalises its own loss, and without effect under label smoothing. A reloaded adapter, which
    has no trainable parameters, fails in PEFT if the batch has labels.
    """

    penalty: Tensor | None = None
    """() of the last training forward, already weighted."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the model's own
        """Run the adapted model without adding the penalty to its loss."""
        self.penalty = self.orthogonality() if self.training else None
        return self.model.forward(*args, **kwargs)

    @property
    def trained(self) -> tuple[str, AdaLoraConfig]:
        """Name and configuration of the adapter that trains."""
        name = self.trainable_adapter_name
        return name, cast(AdaLoraConfig, self.peft_config[name])

    def orthogonality(self) -> Tensor:
        """Return the weighted mean of ||A A^T - I|| and ||B^T B - I|| over all layers."""
        name, config = self.trained
        layers = [module for module in self.model.modules() if isinstance(module, AdaLoraLayer)]
        factors = [factor for x in layers for factor in (x.lora_A[name], x.lora_B[name].T)]
        identity = torch.eye(config.init_r, device=factors[0].device)
        distances = [torch.linalg.matrix_norm(f @ f.T - identity) for f in factors]
        return config.orth_reg_weight * torch.stack(distances).mean()

    def factors(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield A, E and B of every layer under the names that PEFT's allocator uses."""
        for name, parameter in self.model.named_parameters():
            if "lora_" in name and self.trainable_adapter_name in name:
                yield name, parameter


def separate_penalty(model: PeftModel) -> PeftModel:
    """Change a PEFT AdaLoRA model to `AdaLora`; PEFT's table of methods is not changed."""
    if isinstance(model.base_model, AdaLoraModel):
        model.base_model.__class__ = AdaLora
    for layer in model.modules():
        if isinstance(layer, AdaLoraLayer):
            # PEFT never saves this count of ranks, but casting or moving it makes it train
            layer.ranknum.requires_grad_(False)
    return model


class RankAllocation(TrainerCallback):
    """Lowers the budget after each update, in a way that a checkpoint can be resumed from.

    PEFT's allocator does not save its averages, and after it has dropped a row, PEFT would save
    only the remaining rows: too few to resume or to load the best checkpoint, and a dropped row may
    return while the budget still falls. Therefore the averages are stored in the optimizer's state,
    which checkpoints contain, and the rank pattern is removed from PEFT's configuration between
    updates, so that all rows are saved; a dropped row has the singular value 0.
    """

    def __init__(self, tuner: AdaLora) -> None:
        self.tuner = tuner
        self.pattern: dict[str, list[bool]] = {}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,  # noqa: ANN401 - accelerate's wrapper of torch's
        **kwargs: object,
    ) -> None:
        """Set the number of updates from Trainer, and restore the averages of a checkpoint."""
        _, config = self.tuner.trained
        config.total_step = state.max_steps  # a row may have become several model inputs
        for name, parameter in self.tuner.factors():
            if "lora_E" in name:
                self.pattern[name] = (parameter != 0).flatten().tolist()
            kept = optimizer.state.get(parameter, {})
            for key in kept.keys() & AVERAGES:
                getattr(self.tuner.rankallocator, key)[name] = kept[key]

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,  # noqa: ANN401 - accelerate's wrapper of torch's
        **kwargs: object,
    ) -> None:
        """Update the importance of the rows by this update's gradients, and drop the least."""
        _, config = self.tuner.trained
        config.rank_pattern = self.pattern
        self.tuner.update_and_allocate(state.global_step)
        self.pattern, config.rank_pattern = config.rank_pattern, None
        for name, parameter in self.tuner.factors():
            for key in AVERAGES:
                average = getattr(self.tuner.rankallocator, key).get(name)
                if average is not None:
                    optimizer.state[parameter][key] = average

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Log the remaining ranks; the best checkpoint may be older than the last drop."""
        values = [value for name, value in self.tuner.factors() if "lora_E" in name]
        kept = [(value != 0).sum().item() for value in values]
        mean = sum(kept) / len(kept)
        logger.info("mean rank %.2f, between %d and %d per layer", mean, min(kept), max(kept))

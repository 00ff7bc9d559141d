"""One training step of each adapter on the same frozen weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor, nn

from goft_cli.backbone import Backbone, attach_adapter, count_parameters
from goft_cli.composition import data_root, freeze, register
from goft_cli.config import AdapterConfig, TrainConfig
from goft_cli.trainer import forget_penalties, total_penalty
from scripts.benchmarks.shapes import Shape

FROZEN = "frozen model"
REFERENCE = "lora r=8"
VARIANTS: dict[str, str] = {
    "linear probe": "adapter=linear",
    "lora r=2": "adapter=lora adapter.r=2",
    REFERENCE: "adapter=lora adapter.r=8",
    "lora r=16": "adapter=lora adapter.r=16",
    "adalora": "adapter=adalora",
    "oft": "adapter=oft",
    "boft": "adapter=boft",
    "hra": "adapter=hra",
    "goft": "adapter=goft",
    "goft-scaled": "adapter=goft-scaled",
    "qgoft": "adapter=qgoft",
}
"""What is measured, as a user of `goft train` would type it."""


@dataclass(frozen=True)
class Candidate:
    """A model with an adapter on it, and what a step of it needs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    batch: Mapping[str, Tensor]
    trainable: int

    def step(self) -> None:
        """Forward, backward, update; as the trainer does it, penalty included."""
        forget_penalties(self.model)
        loss = self.model(**self.batch).loss
        penalty = total_penalty(self.model)
        (loss if penalty is None else loss + penalty).backward()
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def adapter_config(words: str, model: str) -> tuple[AdapterConfig, list[str]]:
    """Compose an adapter as `goft train` does; also the model's head modules."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(data_root() / "configs"), version_base="1.3"):
        composed = compose("train", [*words.split(), f"model={model}", "run_name=benchmark"])
    cfg = freeze(composed, TrainConfig)
    return cfg.adapter, cfg.model.head_modules


def shared_copy(model: nn.Module) -> Any:  # noqa: ANN401 - the class of the model
    """Another model on the very same weights."""
    return copy.deepcopy(model, {id(p): p for p in [*model.parameters(), *model.buffers()]})


def frozen(base: nn.Module, batch: Mapping[str, Tensor]) -> Candidate:
    """No adapter, but gradients flow through: what every adapter pays for at least."""
    model = shared_copy(base).requires_grad_(False).train()
    model.enable_input_require_grads()
    return Candidate(model, None, batch, 0)


def candidate(base: nn.Module, name: str, shape: Shape, batch: Mapping[str, Tensor]) -> Candidate:
    """Put the adapter of that name on the base's weights."""
    if name == FROZEN:
        return frozen(base, batch)
    adapter, head = adapter_config(VARIANTS[name], shape.model)
    backbone = Backbone(shared_copy(base), None, "")
    model = attach_adapter(backbone, adapter, head, shape.auto_class).train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    return Candidate(model, torch.optim.AdamW(trainable), batch, count_parameters(model).adapter)

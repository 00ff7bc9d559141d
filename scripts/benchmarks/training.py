"""Build training steps, single layers and forward passes of adapters on shared frozen weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from goft_cli.compose.composition import freeze, register
from goft_cli.config import TrainConfig
from goft_cli.models.adapters import attach_adapter, count_parameters, merge
from goft_cli.models.backbone import Backbone
from goft_cli.system.locations import data_root
from goft_cli.tuner.penalty import forget_penalties, total_penalty
from scripts.benchmarks.authors import METHODS, attach_authors, load_authors
from scripts.benchmarks.shapes import Shape
from scripts.benchmarks.timing import Case

UPDATES = 1000
"""Updates of AdaLoRA's schedule, so many that it drops no rank while steps are timed."""

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
"""Words of `goft train` that select a candidate, by its name in the tables."""
SEPARABLE = ("lora r=2", REFERENCE, "lora r=16", "oft", "goft", "goft-scaled", "qgoft")
"""Adapters that act on the layer's vectors and not on its weight."""


@dataclass(frozen=True)
class Candidate:
    """A model with an adapter, and the optimizer and batch of its training step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    batch: Mapping[str, Tensor]
    trainable: int
    autocast: bool = False

    def step(self) -> None:
        """Run forward, backward and update as the trainer does, penalty included."""
        forget_penalties(self.model)
        device = next(iter(self.batch.values())).device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.autocast):
            loss = self.model(**self.batch).loss
        penalty = total_penalty(self.model)
        (loss if penalty is None else loss + penalty).backward()
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Workbench:
    """The frozen model, its shape and the batch that all candidates share."""

    base: nn.Module
    shape: Shape
    batch: Mapping[str, Tensor]
    authors: Path | None = None
    autocast: bool = False
    """Whether training steps run under bfloat16 autocast."""

    def candidate(self, name: str) -> Candidate:
        """Return the candidate of that name, a model that shares the weights of the base."""
        model = shared_copy(self.base)
        if name == FROZEN:  # the backward pass that every adapter needs
            model.train().enable_input_require_grads()
            return Candidate(model, None, self.batch, 0, self.autocast)
        if name in METHODS:
            targets = compose_words("adapter=goft", self.shape.model).model.target_modules
            module = load_authors(self.authors or Path())
            attach_authors(model, targets, module, METHODS[name]).train()
            trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        else:
            model = self.adapted(model, name).train()
            head = compose_words("adapter=goft", self.shape.model).model.head_modules or []
            trainable = count_parameters(model, head).adapter
        wanted = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(wanted)
        return Candidate(model, optimizer, self.batch, trainable, self.autocast)

    def adapted(self, model: Any, name: str) -> Any:  # noqa: ANN401 - a transformers, a PEFT model
        """Attach an adapter as `goft train` does."""
        cfg = compose_words(VARIANTS[name], self.shape.model)
        backbone, head = Backbone(model, None, ""), cfg.model.head_modules or []
        return attach_adapter(backbone, cfg.adapter, head, self.shape.auto_class, UPDATES)

    def layer(self, name: str, tokens: int) -> Case:
        """Return a forward and backward call of an adapter on one layer without its weight.

        Args:
            name: a name in SEPARABLE.
            tokens: number of vectors.
        """
        model = self.adapted(shared_copy(self.base), name).train()
        layers: list[Any] = [part for part in model.modules() if isinstance(part, BaseTunerLayer)]
        layer = next(part for part in layers if part.in_features == part.out_features)
        weight = layer.get_base_layer().weight
        layer.base_layer = nn.Identity()
        x = weight.new_empty(tokens, layer.in_features).normal_().requires_grad_()
        wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
        grad = torch.randn_like(x)
        return lambda: torch.autograd.grad(layer(x), wanted, grad)

    def forwards(self, name: str) -> dict[str, Callable[[], object]]:
        """Return forward passes of an adapter, unmerged and merged into a copy of the weights."""
        before = self.adapted(shared_copy(self.base), name).eval()
        merged = merge(self.adapted(copy.deepcopy(self.base), name)).eval()
        return {name: self.forward(before), f"{name}, merged": self.forward(merged)}

    def forward(self, model: nn.Module) -> Callable[[], object]:
        """Return a function that runs the model on the batch without gradients."""

        def run() -> None:
            with torch.no_grad():
                model(**self.batch)

        return run


def compose_words(words: str, model: str) -> TrainConfig:
    """Compose the configuration of `goft train` with these words and a model."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(data_root() / "configs"), version_base="1.3"):
        composed = compose("train", [*words.split(), f"model={model}", "run_name=benchmark"])
    return freeze(composed, TrainConfig)


def shared_copy(model: nn.Module) -> Any:  # noqa: ANN401 - the class of the model
    """Return a copy of the model that shares its parameters and buffers."""
    return copy.deepcopy(model, {id(p): p for p in [*model.parameters(), *model.buffers()]})

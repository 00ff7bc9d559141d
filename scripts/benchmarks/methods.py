"""The methods to compare: what each puts into a model that shares its frozen weights with all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from peft import (
    AdaLoraConfig,
    BOFTConfig,
    HRAConfig,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    get_peft_model,
)
from torch import nn

from benchmarks.shapes import Shape, let_gradients_in
from goft_cli.tuner import GoftConfig

Configure = Callable[[str, int], PeftConfig]
Attach = Callable[[nn.Module, str], nn.Module]

FROZEN, PROBE, REFERENCE = "frozen", "linear", "lora-8"

CONFIGS: dict[str, Configure] = {
    "lora-2": lambda targets, steps: LoraConfig(r=2, lora_alpha=2, target_modules=targets),
    "lora-8": lambda targets, steps: LoraConfig(r=8, lora_alpha=8, target_modules=targets),
    "lora-16": lambda targets, steps: LoraConfig(r=16, lora_alpha=16, target_modules=targets),
    # So long a schedule that every measured step is one of those that lower the rank.
    "adalora": lambda targets, steps: AdaLoraConfig(
        init_r=12, target_r=8, tinit=0, deltaT=10, total_step=10 * steps, target_modules=targets
    ),
    "oft": lambda targets, steps: OFTConfig(oft_block_size=32, target_modules=targets),
    "boft": lambda targets, steps: BOFTConfig(
        boft_block_size=8, boft_n_butterfly_factor=2, target_modules=targets
    ),
    "hra": lambda targets, steps: HRAConfig(r=8, target_modules=targets),
    "goft": lambda targets, steps: GoftConfig(target_modules=targets),
    "goft-scaled": lambda targets, steps: GoftConfig(scale=True, target_modules=targets),
    "qgoft": lambda targets, steps: GoftConfig(method="qgoft", target_modules=targets),
}
METHODS = (FROZEN, PROBE, *CONFIGS)


@dataclass(frozen=True)
class Prepared:
    """A model ready to train with one method."""

    model: nn.Module
    trainable: list[nn.Parameter]
    """The adapter's parameters and the head's."""
    adapter_parameters: int


def prepare(
    name: str,
    base: nn.Module,
    shape: Shape,
    *,
    steps: int,
    input_grads: bool,
    others: dict[str, Attach],
) -> Prepared:
    """Put a method into a copy of `base` that has all frozen weights in common with it.

    Args:
        name: one of `METHODS`, or of `others`.
        base: a frozen model.
        shape: tells which layers are adapted and which head is trained.
        steps: planned training steps; AdaLoRA's schedule asks.
        input_grads: let gradients reach the embedding, as gradient checkpointing needs.
        others: methods that PEFT does not know, given the model and the pattern of its targets.
    """
    trained = {FROZEN: (), PROBE: shape.probe}.get(name, shape.head)
    model = share(base, private=trained)
    if input_grads or name == FROZEN:
        let_gradients_in(model)
    head = [p for part in trained for p in model.get_submodule(part).parameters()]
    if name in others:
        model = others[name](model, shape.targets)
    elif name in CONFIGS:
        model = get_peft_model(model, CONFIGS[name](shape.targets, steps))  # pyright: ignore
    adapter = [p for p in model.parameters() if p.requires_grad]
    for parameter in head:
        parameter.requires_grad_(True)
    return Prepared(model, [*adapter, *head], sum(p.numel() for p in adapter))


def share(model: nn.Module, private: tuple[str, ...] = ()) -> nn.Module:
    """Copy modules but not tensors, save those below the names in `private`."""
    own = {id(t) for part in private for t in tensors(model.get_submodule(part))}
    common = {id(t): t for t in tensors(model) if id(t) not in own}
    return copy.deepcopy(model, memo=dict(common))


def tensors(model: nn.Module) -> list[nn.Parameter]:
    """Return parameters and buffers."""
    return [*model.parameters(), *model.buffers()]  # pyright: ignore[reportReturnType]

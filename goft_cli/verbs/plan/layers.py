"""The layers that an adapter is on, and the size at which another spends as much."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from goft_cli.config import AdapterConfig, EvalStrategy, TrainConfig
from goft_cli.config.adapter import ANY_UPDATES, blocks, ranks
from goft_cli.models.adapters import (
    ParameterCount,
    attach_adapter,
    count_parameters,
)
from goft_cli.models.backbone import Backbone, empty_model
from goft_cli.models.heads import head_of
from goft_cli.rotation import schedule
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from goft_cli.tuner.base_weight import features
from goft_cli.tuner.layer import GoftLayer


@dataclass(frozen=True)
class Size:
    """How large an adapter is."""

    parameters: int
    """That it trains, the head left out."""
    words: tuple[str, ...] = ()
    """What changes its size to this on the command line."""


def matched_sizes(runs: Mapping[str, TrainConfig], reference: str) -> dict[str, Size]:
    """Find the size of each adapter that comes nearest to the reference's, by the runs' names.

    The runs have one model and task; an adapter of fixed size keeps its own.
    """
    own = size_of(runs[reference])
    budget = own.parameters
    if not budget:
        raise GoftError(
            f"reference={reference}: it trains the head alone, so there is no budget to match",
            "choose another reference, or budget=default",
        )
    sizes = {name: matched_size(cfg, budget) for name, cfg in runs.items() if name != reference}
    return {reference: own} | sizes


def size_of(cfg: TrainConfig) -> Size:
    """Count what a run's adapter trains."""
    return Size(counted(cfg, attached(cfg, cfg.adapter)).adapter)


def counted(cfg: TrainConfig, model: PeftModel) -> ParameterCount:
    """Count what trains of a run's model."""
    return count_parameters(model, head_of(model, cfg.model))


def matched_size(cfg: TrainConfig, budget: int) -> Size:
    """Return the size whose number of parameters is nearest to the budget."""
    adapter, growth = cfg.adapter, cfg.adapter.growth
    if growth is None:
        return size_of(cfg)

    @cache
    def parameters(size: int) -> int:
        resized = replace(adapter, **growth.fields_at(size, adapter))
        return size_of(replace(cfg, adapter=resized)).parameters

    modules = attached(cfg, adapter).modules()
    layers = [module for module in modules if isinstance(module, BaseTunerLayer)]
    input_widths = [features(layer.get_base_layer())[0] for layer in layers]
    nearest = closest(growth.sizes(input_widths), budget, parameters)
    fields = growth.fields_at(nearest, adapter)
    changed = {key: value for key, value in fields.items() if value != getattr(adapter, key)}
    return Size(parameters(nearest), tuple(f"adapter.{k}={v:g}" for k, v in changed.items()))


def closest(sizes: Sequence[int], budget: int, parameters: Callable[[int], int]) -> int:
    """Return the size with the number of parameters nearest to the budget; of two, the smaller.

    The sizes are ascending, and `parameters` grows with the size.
    """
    index = bisect_left(sizes, budget, key=parameters)
    around = sizes[max(0, index - 1) : index + 1]
    return min(around, key=lambda size: abs(parameters(size) - budget))


def attached(
    cfg: TrainConfig, adapter: AdapterConfig, device: str = "meta", blocks: int | None = None
) -> PeftModel:
    """Put an adapter on the run's model, without weights; off the meta device with random ones.

    With `blocks` the model has its first blocks only.
    """
    task = build_task(cfg.task)
    empty = empty_model(cfg.model, task, device, blocks)
    backbone = Backbone(empty, processor=None, fingerprint="")
    head = head_of(empty, cfg.model)
    return attach_adapter(backbone, adapter, head, task.auto_class, ANY_UPDATES)


@dataclass(frozen=True)
class AdaptedLayers:
    """All layers of one name and shape.

    Attributes:
        name: within a block.
        inputs: features that go in; the width of a rotation.
        stages: of a rotation of that width; None for other adapters.
        parameters: that the adapter trains on each.
    """

    name: str
    count: int
    inputs: int
    outputs: int
    stages: int | None
    parameters: int


def adapted_layers(model: PeftModel, head: list[str]) -> list[AdaptedLayers]:
    """Group the adapted layers by name and shape, in the order of the model.

    `head` has the last names of the modules that train whole, which do not count.
    """
    groups: dict[tuple[str, int, int, int | None, int], int] = defaultdict(int)
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, BaseTunerLayer) and isinstance(module, nn.Module):
            if in_modules(name, head):
                continue
            inputs, outputs = features(module.get_base_layer())
            stages = len(schedule(inputs)) if isinstance(module, GoftLayer) else None
            trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
            groups[within_block(name), inputs, outputs, stages, trained] += 1
    return [
        AdaptedLayers(name, count, inputs, outputs, stages, parameters)
        for (name, inputs, outputs, stages, parameters), count in groups.items()
    ]


def within_block(name: str) -> str:
    """Return what follows the last number of a module's name."""
    parts = name.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers else parts)


def equivalents(layers: Sequence[AdaptedLayers], budget: int) -> dict[str, tuple[str, int]]:
    """Return the words that size LoRA and OFT nearest to a budget, and their parameters."""

    def of_lora(rank: int) -> int:  # two factors per layer
        return sum(rank * (one.inputs + one.outputs) * one.count for one in layers)

    def of_oft(block: int) -> int:  # the skew half of each block, as PEFT stores it
        return sum(one.inputs * (block - 1) // 2 * one.count for one in layers)

    if not layers:
        return {}
    rank = closest(ranks([min(one.inputs, one.outputs) for one in layers]), budget, of_lora)
    found = {"lora": (f"adapter.r={rank}", of_lora(rank))}
    if sizes := blocks([one.inputs for one in layers]):
        block = closest(sizes, budget, of_oft)
        found["oft"] = (f"adapter.oft_block_size={block}", of_oft(block))
    return found


def evaluations(cfg: TrainConfig, updates: int, updates_per_epoch: int) -> int:
    """Return how often the training is interrupted to score the evaluation split."""
    if not cfg.task.eval_splits:
        return 0
    if cfg.trainer.eval_strategy is EvalStrategy.epoch:
        return math.ceil(updates / updates_per_epoch)
    every = cfg.trainer.eval_steps or 1
    return updates // (round(every) if every >= 1 else max(1, math.ceil(every * updates)))

"""The size at which an adapter spends as many parameters as another one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from goft_cli.config import AdapterConfig, TrainConfig
from goft_cli.models.adapters import ANY_UPDATES, attach_adapter, count_parameters
from goft_cli.models.backbone import Backbone, empty_model
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from goft_cli.tuner.base_weight import features


@dataclass(frozen=True)
class Size:
    """How large an adapter is."""

    parameters: int
    """That it trains, the head left out."""
    words: tuple[str, ...] = ()
    """What changes its size to this on the command line."""


def matched_sizes(runs: Sequence[TrainConfig], reference: str) -> dict[str, Size]:
    """Find the size of each adapter that comes nearest to the reference's, by name.

    The runs have one model and task; an adapter of fixed size keeps its own.
    """
    default = {cfg.adapter.name: size_of(cfg) for cfg in runs}
    budget = default[reference].parameters
    if not budget:
        raise GoftError(
            f"reference={reference}: it trains the head alone, so there is no budget to match",
            "choose another reference, or budget=default",
        )
    return {cfg.adapter.name: matched_size(cfg, budget) for cfg in runs} | {
        reference: default[reference]
    }


def size_of(cfg: TrainConfig) -> Size:
    """Count what a run's adapter trains."""
    return Size(count_parameters(attached(cfg, cfg.adapter), cfg.model.head_modules).adapter)


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


def attached(cfg: TrainConfig, adapter: AdapterConfig, device: str = "meta") -> PeftModel:
    """Put an adapter on the run's model, without weights; off the meta device with random ones."""
    task = build_task(cfg.task)
    backbone = Backbone(empty_model(cfg.model, task, device), processor=None, fingerprint="")
    return attach_adapter(backbone, adapter, cfg.model.head_modules, task.auto_class, ANY_UPDATES)

"""Which layers of a model an adapter sits on, those of one kind together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from goft_cli.rotation import schedule
from goft_cli.system.digests import in_modules
from goft_cli.tuner.base_weight import features
from goft_cli.tuner.layer import GoftLayer


@dataclass(frozen=True)
class AdaptedLayers:
    """All layers of one name and shape.

    Attributes:
        name: what they are called within a block.
        count: how many there are.
        inputs: features that go in; the width of a rotation.
        outputs: features that come out.
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

    Args:
        model: with its adapter; it may be without weights.
        head: last names of the modules that train whole, which are not layers of the adapter.
    """
    groups: dict[tuple[str, int, int, int | None, int], int] = defaultdict(int)
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, BaseTunerLayer) and isinstance(module, nn.Module):
            if in_modules(name, head):
                continue
            inputs, outputs = features(module.get_base_layer())
            rotated = isinstance(module, GoftLayer)
            stages = len(schedule(inputs)) if rotated else None
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

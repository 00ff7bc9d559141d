"""Several adapters on one model, and an adapter's dense matrix computed by the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from goft_cli import GoftConfig, GoftLayer

if TYPE_CHECKING:
    from tests.tuner.conftest import Attach, Family

BASE = "__base__"
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "direct": {"angle": "direct", "scale": True},
    "quasi": {"method": "qgoft", "scale": True},
}
"""Adapters of different methods and settings, on one model."""
NAMES = [*KINDS, "narrow", BASE]
INTERLEAVED = [NAMES[row % 5] for row in (4, 0, 1, 2, 3, 1, 0, 4, 2, 3)]


def several(family: Family, attach: Attach, *, heads: bool = True) -> PeftModel:
    """Return a float64 model with all adapters; "narrow" has fewer layers and no head."""
    whole = [family.head] if heads else None
    model = attach(family.build().double(), family.targets, modules_to_save=whole)
    for name, options in list(KINDS.items())[1:]:
        add(model, name, target_modules=family.targets, modules_to_save=whole, **options)
    add(model, "narrow", target_modules=family.targets[:1])
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            parameter.data += torch.randn_like(parameter)
    return model.double().eval()


def add(model: PeftModel, name: str, **options: Any) -> None:  # noqa: ANN401 - GoftConfig's
    model.add_adapter(name, GoftConfig(init_weights=False, **options))


def alone(model: PeftModel, name: str, **inputs: Tensor) -> Tensor:
    """Return the model's output if all rows have the same adapter."""
    with torch.no_grad():
        if name == BASE:
            with model.disable_adapter():
                return model(**inputs).logits
        model.set_adapter(name)
        found = model(**inputs).logits
        model.set_adapter("default")
        return found


def many_rows(family: Family) -> dict[str, Tensor]:
    """Return one row for each of INTERLEAVED, all of them different."""
    (key, value), *_ = family.inputs.items()
    value = torch.cat([value.roll(shift, -1) for shift in range(5)])
    return {key: value.double() if value.is_floating_point() else value}


def dense(layer: GoftLayer, name: str) -> Tensor:
    """Return one adapter's matrix diag(scale) R^T (in, in), by the definition in float64."""
    eye = torch.eye(layer.in_features, dtype=torch.float64)
    matrix, rotation = eye.clone(), layer.rotation(name).detach().double()
    stride, taken = 1, 0
    while stride < layer.in_features:
        stage = eye.clone()
        for first in range(0, layer.in_features - stride, 2 * stride):
            block = rotation[taken]
            if rotation.dim() == 1:
                cos, sin = block.cos(), block.sin()
                block = torch.stack((cos, -sin, sin, cos)).view(2, 2)
            places = torch.tensor([first, first + stride])
            stage[places[:, None], places] = block
            taken += 1
        matrix, stride = stage @ matrix, 2 * stride
    scale = layer.scale(name)
    return matrix.T if scale is None else scale.detach().double()[:, None] * matrix.T


def layer_of(width: int, names: dict[str, dict[str, Any]]) -> GoftLayer:
    """Return a layer with random adapters in float64."""
    layer = GoftLayer(nn.Linear(width, 3).double(), "first", GoftConfig())
    for name, options in names.items():
        layer.update_layer(name, GoftConfig(init_weights=False, **options))
    return layer.double().eval()

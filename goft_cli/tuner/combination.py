"""A new adapter whose angles are weighted sums of those of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import ModulesToSaveWrapper
from torch import Tensor

from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.layer import GoftLayer

SELECTION = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


def add_weighted_adapter(
    tuner: BaseTuner,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str = "angles",
) -> None:
    """Add an adapter that turns each pair by the sum of weight times angle, on the same schedule.

    Any sum of angles is a strict rotation. It is not the product of the rotations: R(a) R(b) is
    R(a + b) only if the stages commute, for example if both turn pairs of one stage only; even
    R(a) R(a) is not R(2a). Merging one adapter after the other gives the product. The factors of
    `scale` are multiplied, each to the power of its weight. The new adapter has `angle="direct"`,
    because a sum may exceed pi, the limit of "tanh". It is not active and not trainable.

    A module of `modules_to_save` that one adapter trained is copied; if several trained it, no sum
    has a meaning, and the function refuses, as PEFT does for LoRA.

    Raises:
        ValueError: names or weights that do not fit, qGOFT, or a scale that is not positive.
    """
    configs = check_arguments(tuner, adapters, weights, adapter_name, combination_type)
    layers = {
        name: layer
        for name, layer in tuner.model.named_modules()
        if isinstance(layer, GoftLayer) and any(one in layer.goft_rotation for one in adapters)
    }
    pairs = list(zip(adapters, weights, strict=True))
    angles = {name: summed_angles(layer, pairs) for name, layer in layers.items()}
    scales = {name: product_of_scales(name, layer, pairs) for name, layer in layers.items()}
    selection = {field: getattr(configs[0], field) for field in SELECTION}
    if any(selection != {field: getattr(one, field) for field in SELECTION} for one in configs):
        selection = dict.fromkeys(SELECTION) | {"target_modules": {*layers}}
    whole = sorted({name for one in configs for name in one.modules_to_save or []})
    scaled = any(one.scale for one in configs)
    tuner.peft_config[adapter_name] = replace(
        configs[0], **selection, angle="direct", scale=scaled, modules_to_save=whole or None
    )
    try:
        tuner.inject_adapter(tuner.model, adapter_name)
    except BaseException:
        del tuner.peft_config[adapter_name]
        raise
    with torch.no_grad():
        for name, layer in layers.items():
            layer.goft_rotation[adapter_name].copy_(angles[name])
            if scaled:
                layer.goft_scale[adapter_name].copy_(scales[name])
    copy_heads(tuner, adapters, adapter_name)
    tuner.set_requires_grad(adapter_name, requires_grad=False)


def check_arguments(
    tuner: BaseTuner,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str,
) -> list[GoftConfig]:
    """Refuse adapters without a sum of angles; return the adapters' configurations."""
    if combination_type != "angles":
        raise ValueError(
            f"Invalid combination_type: {combination_type}; GOFT has 'angles', the sum of the "
            "adapters' angles"
        )
    if absent := [name for name in adapters if name not in tuner.peft_config]:
        raise ValueError(f"Adapter {absent[0]} does not exist")
    if adapter_name in tuner.peft_config:
        raise ValueError(f"Adapter {adapter_name} exists already; delete it or pass another name")
    if not adapters or len(adapters) != len(weights) or len({*adapters}) != len(adapters):
        raise ValueError(
            f"adapters={list(adapters)}, weights={list(weights)}: expected one weight for each of "
            "at least one adapter, each named once"
        )
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights={list(weights)}, expected finite numbers")
    configs = [cast(GoftConfig, tuner.peft_config[name]) for name in adapters]
    free = [name for name, one in zip(adapters, configs, strict=True) if one.method != "goft"]
    if free:
        raise ValueError(
            f"adapter {free[0]!r}: found method='qgoft', expected 'goft'; its 2x2 blocks are a "
            "rotation times a symmetric part, and symmetric parts do not commute, so there is "
            "no sum; merge one adapter after the other instead"
        )
    check_heads(tuner, adapters)
    return configs


def check_heads(tuner: BaseTuner, adapters: Sequence[str]) -> None:
    """Refuse adapters that share a module of `modules_to_save`, with PEFT's message."""
    for wrapper in tuner.modules():
        if isinstance(wrapper, ModulesToSaveWrapper):
            trained = [name for name in adapters if name in wrapper.modules_to_save]
            if len(trained) > 1:
                raise ValueError(
                    "Cannot add weighted adapters if they target the same module with "
                    f"modules_to_save, but found it in {', '.join(trained)}."
                )


@torch.no_grad()
def summed_angles(layer: GoftLayer, pairs: Sequence[tuple[str, float]]) -> Tensor:
    """Return the sum (in-1,) of weight times angle in float64, zero for absent adapters."""
    there = [(name, weight) for name, weight in pairs if name in layer.goft_rotation]
    return torch.stack([weight * layer.rotation(name).double() for name, weight in there]).sum(0)


@torch.no_grad()
def product_of_scales(name: str, layer: GoftLayer, pairs: Sequence[tuple[str, float]]) -> Tensor:
    """Return the product (in,) of scales to the power of their weights, ones where none has any."""
    product = torch.ones(layer.in_features, dtype=torch.float64)
    for adapter, weight in pairs:
        scale = layer.scale(adapter)
        if scale is None:
            continue
        if not (scale > 0).all():
            raise ValueError(
                f"adapter {adapter!r}, layer {name}: a factor of its scale is not positive, and "
                "has no power; leave this adapter out"
            )
        product = product.to(scale.device) * scale.double() ** weight
    return product


@torch.no_grad()
def copy_heads(tuner: BaseTuner, adapters: Sequence[str], adapter_name: str) -> None:
    """Copy modules of `modules_to_save` from the adapters to the new one."""
    for wrapper in tuner.modules():
        if isinstance(wrapper, ModulesToSaveWrapper) and adapter_name in wrapper.modules_to_save:
            for name in adapters:
                if name in wrapper.modules_to_save:
                    state = wrapper.modules_to_save[name].state_dict()
                    wrapper.modules_to_save[adapter_name].load_state_dict(state)

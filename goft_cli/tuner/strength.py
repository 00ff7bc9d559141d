"""The strength of a trained adapter: 0 gives the base model, 1 the model with the whole adapter.

Its effect depends on the method. Angles, and the skew matrices of Cayley transforms, are multiplied
by the strength, so that a rotation stays a rotation; positive factors are raised to its power;
added updates are multiplied by it; and fully trained weights are interpolated between the base
model's and the trained ones (WiSE-FT: Wortsman et al., CVPR 2022, arXiv:2109.01903).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import nn

from goft_cli.config.choices import STRENGTHS, fits_strength
from goft_cli.tuner.fractions import BASE, STRENGTH, TRAINED, keep, one_strength, own, way_of
from goft_cli.tuner.layer import TRAINS_WHOLE, GoftLayer

UNCHANGED_BASE = (True, False, "gaussian", "orthogonal", "eva")
"""Values of LoRA's `init_lora_weights` that do not change the base weights."""


def set_strength(model: nn.Module, strength: float, adapter_name: str | None = None) -> None:
    """Use a fraction of a model's adapters; each call starts from the trained adapters.

    0 gives the base model's outputs and 1 the trained adapter's, bit for bit. Modules of
    `modules_to_save`, such as a head, stay as trained. The parameters and `state_dict()` do not
    change, except for BOFT, full fine-tuning and BitFit, whose weights are changed in place: save
    those models at strength 1. An adapter can be trained only at strength 1.

    Args:
        model: a PeftModel, or any module with adapted layers in it.
        strength: from 0 to 1.5.
        adapter_name: which adapter; all of them if not given.

    Raises:
        ValueError: the strength is out of range; there is no fraction of a layer's adapter; a
            layer is merged; or nothing is adapted. The model is then as it was.
    """
    check_strength(strength)
    found = list(adapted_modules(model, adapter_name))
    if not found and strength != 1:
        raise ValueError(
            f"strength={strength:g}: {adapter_name or 'the adapter'} changes no layer of the base "
            "model, so it has no fraction; pass strength=1"
        )
    if {one_strength(module, adapter) for _, module, adapter in found} <= {strength}:
        return
    if strength != 1:
        check_configs(model, {adapter for _, _, adapter in found}, strength)
    for name, module, adapter in found:
        problem = None if strength == 1 else way_of(module).problem(module, adapter)
        if isinstance(module, BaseTunerLayer) and module.merged:
            problem = "it is merged into the weight; call unmerge first"
        if problem is not None:
            place = name or type(module).__name__
            raise ValueError(f"strength={strength:g}: layer {place}, adapter {adapter}: {problem}")
    for _, module, adapter in found:
        way_of(module).apply(module, adapter, strength)
        keep(module, STRENGTH, adapter, None if strength == 1 else strength)
        if isinstance(module, BaseTunerLayer) and not isinstance(module, GoftLayer):
            delete_with_adapter(module)
        watch_training(module)


def strength_of(model: nn.Module, adapter_name: str | None = None) -> float:
    """Return the strength of a model's adapters; 1 unless `set_strength` changed it.

    Raises:
        ValueError: the adapters have different ones, and none of them is named.
    """
    found = adapted_modules(model, adapter_name)
    each = {adapter: one_strength(module, adapter) for _, module, adapter in found}
    if len({*each.values()}) > 1:
        shown = ", ".join(f"{name} {strength:g}" for name, strength in each.items())
        raise ValueError(f"the adapters have different strengths ({shown}); pass adapter_name")
    return next(iter(each.values()), 1.0)


def check_strength(strength: float) -> None:
    """Refuse a value that is not a number from 0 to `STRONGEST`."""
    is_number = isinstance(strength, int | float) and not isinstance(strength, bool)
    if not is_number or not fits_strength(strength):
        raise ValueError(f"strength={strength}: expected {STRENGTHS}")


def keep_base(model: nn.Module, adapter: str, kept: Callable[[str], bool]) -> None:
    """Store the base model's values of fully trained weights before training changes them.

    `kept` selects them by their names in the adapted model. If PEFT trains a copy of a module, the
    original's own tensors are stored; otherwise the values are cloned.
    """
    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            own = module.original_module.state_dict(keep_vars=True)
            found = {key: one for key, one in own.items() if kept(f"{name}.{key}")}
        elif any(part in name for part in (".modules_to_save.", ".original_module")):
            continue
        else:
            named = module.named_parameters(recurse=False)
            found = {key: p.detach().clone() for key, p in named if kept(f"{name}.{key}")}
        if found:
            keep(module, BASE, adapter, found)


def adapted_modules(
    model: nn.Module, adapter_name: str | None
) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield name, module and adapter for each module that an adapter changes."""
    for name, module in model.named_modules():
        held = module._get_available_adapters() if isinstance(module, BaseTunerLayer) else set()
        for adapter in sorted(held | own(module, BASE).keys()):
            if adapter_name in (None, adapter):
                yield name, cast("nn.Module", module), adapter


def delete_with_adapter(layer: BaseTunerLayer) -> None:
    """Make PEFT delete the stored values of an adapter together with the adapter."""
    for attribute in (STRENGTH, TRAINED):
        setattr(layer, attribute, {**own(layer, attribute)})
    layer.other_param_names = (*type(layer).other_param_names, STRENGTH, TRAINED)


def watch_training(module: nn.Module) -> None:
    """Make a module raise in training while its strength is not 1, as GOFT's layers do."""
    hooks = module._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if hook is refuse_training]:
        del hooks[key]
    if own(module, STRENGTH) and not isinstance(module, GoftLayer):
        module.register_forward_pre_hook(refuse_training)


def refuse_training(module: nn.Module, args: object) -> None:
    """Raise the error of GOFT's layers if the module is in training mode."""
    if module.training:
        raise ValueError(TRAINS_WHOLE)


def check_configs(model: nn.Module, adapters: set[str], strength: float) -> None:
    """Refuse options of PEFT with which training overwrites the base model's values."""
    kept = {name for module in model.modules() for name in own(module, BASE)}
    for adapter in adapters:
        config = getattr(model, "peft_config", {}).get(adapter)
        start, bias = (getattr(config, key, None) for key in ("init_lora_weights", "bias"))
        problems = {
            f"init_lora_weights={start} has changed the base weights": isinstance(start, str)
            and start not in UNCHANGED_BASE,
            f"bias={bias} has trained biases in place": bias in ("all", "lora_only", "boft_only")
            and adapter not in kept,
            "trainable_token_indices has trained rows of an embedding": bool(
                getattr(config, "trainable_token_indices", None)
            ),
        }
        for problem, found in problems.items():
            if found:
                raise ValueError(
                    f"strength={strength:g}: adapter {adapter}: {problem}; pass strength=1"
                )

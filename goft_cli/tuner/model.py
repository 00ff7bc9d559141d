"""PEFT's tuner of GOFT, and checks that a file holds the whole adapter."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import (
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    ModulesToSaveWrapper,
    NoMatchingPeftModuleError,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from goft_cli.tuner.combination import add_weighted_adapter
from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.geometry import WRAPPER
from goft_cli.tuner.layer import GoftLayer
from goft_cli.tuner.mixed_batch import mixed_batch
from goft_cli.tuner.penalty import NAME, install

SHOWN = 3
"""Most names in an error message."""


class GoftModel(BaseTuner):
    """A model with GOFT or qGOFT adapters; made by `get_peft_model(model, GoftConfig(...))`.

    While it trains, the loss that the model returns contains qGOFT's penalty, as AdaLoRA's does.
    Without `target_modules` the modules are those that PEFT adapts with LoRA by default.
    """

    prefix = "goft_"
    tuner_layer_cls = GoftLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _check_new_adapter_config(self, config: PeftConfig) -> None:
        # PEFT accepts the names if one of them is found
        super()._check_new_adapter_config(config)
        wanted = getattr(config, "target_modules", None)
        if isinstance(wanted, str) or not wanted:
            return
        names = [f".{name}" for name, _ in self.model.named_modules()]
        idle = [word for word in wanted if not any(name.endswith(f".{word}") for name in names)]
        if idle:
            raise NoMatchingPeftModuleError(
                f"target_modules: no module is called {', '.join(map(repr, sorted(idle)))}; leave "
                "out missing names, or name modules as model.named_modules() does"
            )

    def inject_adapter(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - PEFT's
        """Add an adapter; see PEFT."""
        super().inject_adapter(model, *args, **kwargs)
        _separate(model)

    def _post_injection_hook(self, model: nn.Module, config: PeftConfig, adapter_name: str) -> None:
        self._hooks = [*getattr(self, "_hooks", []), *install(model)]

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        plain: Any = super()._unload_and_optionally_merge(*args, **kwargs)
        for hook in self._hooks:
            hook.remove()
        vars(plain).pop(NAME, None)
        return plain

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if not isinstance(peft_config, GoftConfig):
            raise ValueError(
                f"adapter {adapter_name!r}: found a {type(peft_config).__name__}, expected a "
                "GoftConfig; one model holds adapters of one method"
            )
        if isinstance(target, GoftLayer):
            target.update_layer(adapter_name, peft_config)
            return
        try:
            layer = GoftLayer(target, adapter_name, peft_config)
        except ValueError as error:
            raise ValueError(f"target module {current_key}: {error}") from error
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)  # another adapter is trainable once it is active
        self._replace_module(parent, target_name, layer, target)

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "angles",
    ) -> None:
        """Add the adapter whose angles are the weighted sum of others': see `combination`."""
        add_weighted_adapter(self, adapters, weights, adapter_name, combination_type)

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        # PEFT calls this before every load; before 0.21 it does not, and only warns of missing
        # tensors.
        weights = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        _check_weights(model, adapter_name, weights)
        return weights

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        # PEFT's own version copies child.weight, but unloading also restores heads, and a head such
        # as a pooler has no weight itself. GoftLayer is already on its base's device.
        setattr(parent, child_name, new_module)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: ANN401 - PEFT's hook
        # Without this hook PEFT drops the argument and every row runs with the active adapter.
        beams = kwargs.get("num_beams")
        beams = beams if isinstance(beams, int) else 1
        with mixed_batch(self, kwargs.get("adapter_names"), beams):
            yield


def _separate(model: nn.Module) -> None:
    """Give adapted layers a module of their own, with the same parameters, where it has two names.

    PEFT adapts such a module under its first name only. Merging must not change it under the other.
    """
    parents = [one for one in model.modules() if not isinstance(one, GoftLayer)]
    elsewhere = {child for parent in parents for child in parent.children()}
    for layer in model.modules():
        if isinstance(layer, GoftLayer) and layer.base_layer in elsewhere:
            base = layer.base_layer
            layer.base_layer = copy.copy(base)
            layer.base_layer.__dict__["_parameters"] = {**base._parameters}


def _check_weights(model: nn.Module, adapter_name: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that would leave part of an adapter at its initial value, or set other values.

    Shapes are not checked: torch refuses wrong ones, or the caller told PEFT to ignore them.
    """
    endings = tuple(f".{part}.{adapter_name}" for part in GoftLayer.adapter_layer_names)
    expected = {_plain(name) for name in model.state_dict() if name.endswith(endings)}
    found = {_plain(name): value for name, value in weights.items()}
    beside = _trained_beside(model, adapter_name)
    surplus = [name for name in found.keys() - expected if not any(map(name.startswith, beside))]
    problems = {
        "missing": expected - found.keys(),
        "without a place in the model": surplus,
        "no floating point numbers": [
            name for name in expected & found.keys() if not found[name].is_floating_point()
        ],
        "not finite": [name for name, value in found.items() if not _is_finite(value)],
    }
    for problem, names in problems.items():
        if names:
            raise ValueError(
                f"GOFT adapter {adapter_name!r}: {len(names)} tensors are {problem} "
                f"({', '.join(sorted(names)[:SHOWN])}{', ...' if len(names) > SHOWN else ''}); "
                f"expected the {len(expected)} that its configuration implies on this model; copy "
                "the adapter's files again, both of them, or load it on the model it was trained on"
            )


def _plain(name: str) -> str:
    """A parameter's name without the prefixes of wrappers around the model."""
    for wrapper in ("_fsdp_wrapped_module.", "_orig_mod."):
        name = name.replace(wrapper, "")
    return name.removeprefix(WRAPPER)


def _trained_beside(model: nn.Module, adapter_name: str) -> list[str]:
    """Other prefixes that an adapter's file may set: modules of `modules_to_save`, embeddings."""
    names = [
        f"{name}.modules_to_save.{adapter_name}."
        for name, module in model.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    ]
    found = [_embeddings(model, way) for way in ("get_input_embeddings", "get_output_embeddings")]
    names += [f"{name}." for name, module in model.named_modules() if module in found]
    return [_plain(name) for name in names]


def _embeddings(model: nn.Module, way: str) -> nn.Module | None:
    """The embeddings of a transformers model; None for a model without such a method."""
    try:
        return getattr(model, way)()
    except (AttributeError, NotImplementedError):
        return None


def _is_finite(value: Tensor) -> bool:
    """Whether there is no NaN or infinity; True for tensors without readable values."""
    unseen = value.is_meta or is_traceable_wrapper_subclass(value)
    return unseen or not value.is_floating_point() or bool(torch.isfinite(value).all())

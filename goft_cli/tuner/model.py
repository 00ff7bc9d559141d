"""PEFT's tuner: finds the targeted layers and puts a `GoftLayer` around each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn

from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.layer import GoftLayer
from goft_cli.tuner.loading import check_weights
from goft_cli.tuner.penalty_in_loss import NAME, install


class GoftModel(BaseTuner):
    """A model with GOFT or qGOFT adapters; made by `get_peft_model(model, GoftConfig(...))`.

    While it trains, the loss that the model returns contains qGOFT's penalty, as AdaLoRA's does.
    Without `target_modules` the modules are those that PEFT adapts with LoRA by default.
    """

    prefix = "goft_"
    tuner_layer_cls = GoftLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _post_injection_hook(self, model: nn.Module, config: PeftConfig, adapter_name: str) -> None:
        self._hooks = install(model)

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
            layer.requires_grad_(False)  # a further adapter trains once it is made active
        self._replace_module(parent, target_name, layer, target)

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        # PEFT asks this of what it is about to load, however it was asked to; before 0.21 it does
        # not, and only warns of missing tensors.
        weights = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        check_weights(model, adapter_name, weights, GoftLayer.adapter_layer_names)
        return weights

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        # PEFT's own version copies child.weight, but unloading also puts whole heads back, and a
        # head such as a pooler has no weight itself. GoftLayer is already on its base's device.
        setattr(parent, child_name, new_module)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: ANN401 - PEFT's hook
        # Without this hook PEFT drops the argument and every row runs with the active adapter.
        if kwargs.get("adapter_names") is not None:
            raise ValueError(
                "adapter_names: GOFT runs a whole batch with the active adapters, expected None; "
                "call set_adapter and pass the rows of each adapter separately"
            )
        yield

"""An adapter as LoRA of a given rank, by PEFT's own conversion, and what that leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora.conversion import convert_to_lora
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from goft_cli.models.adapters import ADAPTER
from goft_cli.system.errors import GoftError
from goft_cli.tuner.geometry import WRAPPER

Lora = tuple[LoraConfig, dict[str, Tensor]]


def lora_of(model: PeftModel, rank: float) -> Lora:
    """Convert a model's adapter; the head that trained beside it comes along unchanged.

    Args:
        model: with one adapter, not merged.
        rank: of every layer; or, below 1, the share of each layer's squared change to keep.

    Returns:
        PEFT's configuration, and tensors by the names in its files.
    """
    config = model.peft_config[ADAPTER]
    method = str(getattr(config.peft_type, "value", config.peft_type))
    if method == "LORA":
        raise GoftError("as_lora: the adapter is LoRA already", "drop as_lora, or pass another run")
    try:
        lora, tensors = convert_to_lora(model, int(rank) if rank >= 1 else rank, ADAPTER)
    except TypeError as error:
        raise GoftError(
            f"as_lora: PEFT cannot convert {method}, only adapters that add to the weights",
            "merge it without as_lora",
        ) from error
    except ValueError as error:
        raise GoftError(f"as_lora={rank:g}: {error}") from error
    lora.task_type = config.task_type
    lora.target_modules = sorted(lora.target_modules or [])
    lora.modules_to_save = sorted(set(lora.modules_to_save or [])) or None
    prefix = cast(Any, model.base_model).prefix
    # PEFT's conversion drops the middle of a deep head's names: pooler.dense.weight
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    head = {name: tensor for name, tensor in own.items() if prefix not in name}
    factors = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    return lora, factors | head


def save_lora(lora: Lora, folder: Path) -> None:
    """Write configuration and tensors the way PEFT reads them."""
    config, tensors = lora
    config.inference_mode = True
    config.save_pretrained(str(folder))
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def products(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return B A (out, in) of each layer, by its name in the plain model."""
    ending = ".lora_A.weight"
    layers = [name.removesuffix(ending) for name in tensors if name.endswith(ending)]
    return {
        layer.removeprefix(WRAPPER): tensors[f"{layer}.lora_B.weight"].float()
        @ tensors[f"{layer}{ending}"].float()
        for layer in layers
    }


@torch.no_grad()
def residuals(model: PeftModel, approximations: Mapping[str, Tensor]) -> dict[str, float]:
    """Return ||D - B A|| / ||D|| of each layer, D the change of its weight; 0 where D is 0."""
    found = {}
    for name, product in approximations.items():
        layer = model.get_submodule(f"{WRAPPER}{name}")
        change = cast(Any, layer).get_delta_weight(ADAPTER).float()
        if isinstance(cast(BaseTunerLayer, layer).get_base_layer(), Conv1D):
            change = change.T
        size = float(change.norm())
        found[name] = float((change - product.to(change)).norm()) / size if size else 0.0
    return found

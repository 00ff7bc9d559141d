"""The adapter on the backbone: put on, saved and loaded through PEFT, merged, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import cast

from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftModel, PeftType, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError
from torch import nn

import goft_cli.tuner  # noqa: F401 - makes PEFT know the method GOFT
from goft_cli.backbone import Backbone, in_modules
from goft_cli.config import AdapterConfig
from goft_cli.errors import GoftError

PEFT_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForImageClassification": None,
}
"""What PEFT calls the kind of model that a transformers Auto class builds."""


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: the paper's counts are `adapter`, which leaves the head out."""

    adapter: int
    head: int
    total: int


def attach_adapter(
    backbone: Backbone, cfg: AdapterConfig, head: list[str], auto_class: str
) -> PeftModel:
    """Freeze the backbone, put the adapter on it, and let the head train beside it.

    Raises:
        GoftError: `target_modules` matches nothing, or PEFT refuses the configuration.
    """
    names = [name for name, _ in backbone.model.named_modules()]
    present = [module for module in head if any(in_modules(name, [module]) for name in names)]
    try:
        config = peft_config(cfg, present, auto_class)
        model = get_peft_model(backbone.model, config, autocast_adapter_dtype=True)
    except (ValueError, TypeError) as error:
        raise GoftError(adapter_refusal(cfg, error, names)) from error
    # The classification heads ignore num_items_in_batch, but their **kwargs make Trainer believe
    # the loss is normalised by it and skip the division by the accumulation steps.
    object.__setattr__(backbone.model, "accepts_loss_kwargs", auto_class == "AutoModelForCausalLM")
    return model


def peft_config(cfg: AdapterConfig, head: list[str], auto_class: str) -> PeftConfig:
    """Hand the fields of our dataclass to PEFT's configuration of the same names."""
    own = {entry.name for entry in fields(AdapterConfig)}
    values = {entry.name: getattr(cfg, entry.name) for entry in fields(cfg)}
    options = {
        key: value.value if isinstance(value, Enum) else value
        for key, value in values.items()
        if key not in own
    }
    kind = cast("Callable[..., PeftConfig]", PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(cfg.peft_type)])
    return kind(task_type=PEFT_TASK_TYPES[auto_class], modules_to_save=head, **options)


def adapter_refusal(cfg: AdapterConfig, error: Exception, names: list[str]) -> str:
    """One sentence for a configuration that PEFT or the tuner refused."""
    wanted = getattr(cfg, "target_modules", None)
    if "Target modules" in str(error) or "target module" in str(error).lower():
        endings = sorted({name.rpartition(".")[2] for name in names if name})
        return (
            f"adapter.target_modules={wanted}: no linear layer of the model has such a name; "
            f"its modules end in {', '.join(endings[:20])}"
        )
    return f"adapter={cfg.name}: {' '.join(str(error).split())}"


def load_adapter(backbone: Backbone, folder: Path) -> PeftModel:
    """Put a saved adapter and its head on a freshly loaded backbone.

    Raises:
        GoftError: the adapter is missing, damaged, or belongs to another base model.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise GoftError(f"adapter={folder}: incomplete, no {name}; copy the whole folder again")
    try:
        return PeftModel.from_pretrained(backbone.model, str(folder))
    except (SafetensorError, OSError) as error:
        raise GoftError(f"adapter={folder}: damaged ({error}); copy it again") from error
    except (RuntimeError, ValueError, KeyError) as error:
        shape = " ".join(str(error).split())[:200]
        raise GoftError(
            f"adapter={folder} does not fit the base model {backbone.model.name_or_path}; "
            f"pass the base it was trained on with base_model=PATH ({shape})"
        ) from error


def count_adapted_layers(model: nn.Module) -> int:
    """Count the layers that an adapter wraps."""
    return sum(isinstance(module, BaseTunerLayer) for module in model.modules())


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count what trains, the head apart from the adapter."""
    adapter = head = 0
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        parents = [owners[".".join(name.split(".")[:end])] for end in range(name.count(".") + 1)]
        if any(isinstance(parent, ModulesToSaveWrapper) for parent in parents):
            head += parameter.numel()
        elif any(isinstance(parent, BaseTunerLayer) for parent in parents):
            adapter += parameter.numel()
    return ParameterCount(adapter, head, sum(p.numel() for p in model.parameters()))

"""An adapter: attached to a model, checked, counted and merged."""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftModel, PeftType, get_peft_model
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import (
    INCLUDE_LINEAR_LAYERS_SHORTHAND,
    ModulesToSaveWrapper,
    NoMatchingPeftModuleError,
)
from torch import nn
from transformers import PreTrainedModel

import goft_cli.tuner  # noqa: F401 - registers the method GOFT with PEFT
from goft_cli.config import (
    AdapterConfig,
    BitFitConfig,
    BoftAdapterConfig,
    FullConfig,
    LayerAdapterConfig,
    LinearProbeConfig,
    PeftAdapterConfig,
)
from goft_cli.models.adalora import separate_penalty
from goft_cli.models.backbone import Backbone
from goft_cli.models.targets import all_linear, check_pattern, check_targets, linear_layers
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError
from goft_cli.tuner.strength import keep_base, set_strength

logger = logging.getLogger(__name__)

ADAPTER = "default"
"""PEFT's name for the only adapter."""
MODULES_TO_SAVE = "modules_to_save"
"""PEFT's name for the modules that are trained in full."""
PEFT_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    # PEFT's class for question answering drops token_type_ids; the merged model would get them.
    "AutoModelForQuestionAnswering": None,
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForImageClassification": None,
}
"""PEFT's task type by the transformers Auto class that builds the model."""


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: the paper's counts are `adapter`, which leaves the head out."""

    adapter: int
    head: int
    total: int


def attach_adapter(
    backbone: Backbone, cfg: AdapterConfig, head: list[str], auto_class: str, updates: int
) -> PeftModel:
    """Freeze the backbone in place, attach the adapter, and make the head trainable.

    `auto_class` is the transformers class that built the model. `updates` is the number of updates
    of this run, counted from the raw rows.
    """
    whole = trained_modules(backbone.model, cfg, head)
    linear = linear_layers(backbone.model, whole)
    names = [name for name, _ in backbone.model.named_modules() if not in_modules(name, whole)]
    if isinstance(cfg, LayerAdapterConfig):
        check_pattern(cfg.target_modules, names)
    try:
        config = peft_config(cfg, auto_class, peft_options(cfg, backbone.model, whole, updates))
        with filtered_peft_warnings():
            model = get_peft_model(
                backbone.model, config, autocast_adapter_dtype=True, revision=backbone.revision
            )
    except (ValueError, TypeError, UserWarning, NotImplementedError, AssertionError) as error:
        if isinstance(error, NoMatchingPeftModuleError) and isinstance(cfg, LayerAdapterConfig):
            check_targets(cfg, names, linear)
            check_targets(cfg, [], linear)
        raise GoftError(f"adapter={cfg.name}: {' '.join(str(error).split())}") from error
    if isinstance(cfg, LayerAdapterConfig):
        check_targets(cfg, cast(Any, model.base_model).targeted_module_names, linear)
    check_adapted(model, cfg, head)
    keep_base_values(model, cfg, head)
    for strength in (cfg.strength, 1.0):  # refused now rather than after the training
        use_strength(model, strength, key="adapter.strength")
    # Classification heads ignore num_items_in_batch, but because of their **kwargs Trainer assumes
    # a loss normalised by it, and does not divide by the accumulation steps.
    object.__setattr__(backbone.model, "accepts_loss_kwargs", auto_class == "AutoModelForCausalLM")
    return separate_penalty(model)


def peft_config(cfg: AdapterConfig, auto_class: str, options: dict[str, Any]) -> PeftConfig:
    """Build PEFT's configuration; its TypeError, ValueError or UserWarning refuses the options."""
    kind = cast("Callable[..., PeftConfig]", PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(cfg.peft_type)])
    with filtered_peft_warnings():
        return kind(task_type=PEFT_TASK_TYPES[auto_class], **options)


def peft_options(
    cfg: AdapterConfig, model: nn.Module, whole: list[str], updates: int
) -> dict[str, Any]:
    """Return the fields of PEFT's configuration class, with `all-linear` replaced by names.

    `whole` are the modules that are trained in full; their layers are not adapted.
    """
    options = cfg.peft_options(updates) | {MODULES_TO_SAVE: whole}
    if str(options.get("target_modules")).lower() == INCLUDE_LINEAR_LAYERS_SHORTHAND:
        options["target_modules"] = all_linear(model, whole)
    return options


def trained_modules(model: nn.Module, cfg: AdapterConfig, head: list[str]) -> list[str]:
    """Return the modules that are trained in full: the head's, or the whole model."""
    if isinstance(cfg, FullConfig):
        children = model.named_children()
        return [name for name, child in children if next(child.parameters(), None) is not None]
    names = [name for name, _ in model.named_modules()]
    return [module for module in head if any(in_modules(name, [module]) for name in names)]


@contextmanager
def filtered_peft_warnings() -> Iterator[None]:
    """Raise PEFT's warning that it changed a block size, and drop others.

    Those on BOFT's CUDA extension come once for each layer, and `check_adapted` refuses the change
    itself. Those on tied embeddings and on saved embeddings do not apply: `merge` unties them, and
    an adapter on embeddings is meant to be saved beside them.
    """
    said = ["CUDA extension", "Setting boft_n_butterfly_factor", "tie_word_embeddings"]
    dropped = f".*({'|'.join([*said, 'save_embedding_layers'])})"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Invalid `oft_block_size`", UserWarning)
        warnings.filterwarnings("ignore", dropped, UserWarning)
        yield


def check_adapted(model: PeftModel, cfg: AdapterConfig, head: list[str]) -> None:
    """Refuse an adapter if PEFT attached less than the configuration asks for."""
    counts = count_parameters(model, head)
    if not (counts.head if isinstance(cfg, LinearProbeConfig) else counts.adapter):
        kind = type(model.get_base_model()).__name__
        raise GoftError(
            f"adapter={cfg.name}: a {kind} has no trainable parameters",
            "choose another",
        )
    if isinstance(cfg, PeftAdapterConfig):
        check_merges(model, cfg)
    layers = [module for module in model.modules() if isinstance(module, BOFTLayer)]
    if isinstance(cfg, BoftAdapterConfig) and layers:
        found, wanted = len(layers[0].boft_R[ADAPTER]), cfg.boft_n_butterfly_factor
        if found != wanted:
            raise GoftError(
                f"adapter.boft_n_butterfly_factor={wanted}: PEFT could not compile its CUDA "
                f"extension (nvcc, ninja) and fell back to {found}",
                f"pass {found}",
            )


def check_merges(model: PeftModel, cfg: PeftAdapterConfig) -> None:
    """Refuse a method whose layers cannot be merged, before training; tries it on a copy."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    refusal = GoftError(
        f"adapter.type={cfg.type}: PEFT cannot merge it into the weights of this model",
        "choose another method, such as adapter.type=ROAD",
    )
    if not layers or not hasattr(model.base_model, "merge_and_unload"):
        raise refusal
    try:
        copy.deepcopy(layers[0]).merge()
    except (NotImplementedError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise refusal from error


def keep_base_values(model: PeftModel, cfg: AdapterConfig, head: list[str]) -> None:
    """Store the base model's values of weights that are trained, for strengths other than 1."""
    if isinstance(cfg, FullConfig | BitFitConfig):
        word = "" if isinstance(cfg, FullConfig) else "bias"
        keep_base(model, ADAPTER, lambda name: word in name and not in_modules(name, head))


def use_strength(
    model: PeftModel, strength: float, adapter_name: str | None = None, *, key: str = "strength"
) -> None:
    """Set the strength of a model's adapters, or of one; refuse it if the method cannot.

    `key` is the key that the user typed.
    """
    try:
        set_strength(model, strength, adapter_name)
    except ValueError as error:
        raise GoftError(str(error).replace("strength=", f"{key}=")) from error


def merge(model: PeftModel) -> PreTrainedModel:
    """Merge the adapter into the weights and return the plain model; `model` is unusable after."""
    for name, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            # PEFT's unwrapping asks a module for its weight, and a pooler has none of its own.
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.modules_to_save[ADAPTER])
    was_tied = getattr(model.config, "tie_word_embeddings", False)
    untie_adapted_layers(model)
    try:
        with filtered_peft_warnings():
            merged = cast(Any, model).merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise GoftError(f"the adapter cannot be merged: {error}") from error
    if was_tied and not merged.config.tie_word_embeddings:
        logger.info(
            "the output layer of the merged model has weights of its own, no longer those of the "
            "input embeddings: tie_word_embeddings is false in its config.json"
        )
    return merged


def untie_adapted_layers(model: nn.Module) -> None:
    """Untie the weights of adapted layers: merging would change the module they are tied to."""
    parameters = [p for module in model.modules() for p in module.parameters(recurse=False)]
    owners = Counter(map(id, parameters))
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            base = layer.get_base_layer()
            for name, weight in list(base.named_parameters(recurse=False)):
                if owners[id(weight)] > 1:
                    own = nn.Parameter(weight.detach().clone(), weight.requires_grad)
                    base.register_parameter(name, own)


def count_adapted_layers(model: nn.Module) -> int:
    """Count the layers that an adapter wraps."""
    return sum(isinstance(module, BaseTunerLayer) for module in model.modules())


def count_parameters(model: nn.Module, head: list[str]) -> ParameterCount:
    """Count the trainable parameters, those of the head's modules separately."""
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    in_head = sum(size for name, size in sizes.items() if in_modules(name, head))
    return ParameterCount(
        adapter=sum(sizes.values()) - in_head,
        head=in_head,
        total=sum(p.numel() for p in model.parameters()),
    )

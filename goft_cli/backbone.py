"""The frozen pretrained model, its tokenizer, and the adapter on top."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import torch
import transformers
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftModel, PeftType, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

import goft_cli.tuner  # noqa: F401 - makes PEFT know the method GOFT
from goft_cli import hub
from goft_cli.config import AdapterConfig, ModelConfig
from goft_cli.errors import GoftError
from goft_cli.preflight import MODEL_REMEDY, check_engine, model_location

SAMPLED_PER_TENSOR = 256
PEFT_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    # PEFT's class for question answering drops token_type_ids; the merged model would get them.
    "AutoModelForQuestionAnswering": None,
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForImageClassification": None,
}
"""What PEFT calls the kind of model that a transformers Auto class builds."""
EXAMPLES = {
    "AutoModelForSequenceClassification": "deberta-v3-base",
    "AutoModelForQuestionAnswering": "deberta-v3-base",
    "AutoModelForCausalLM": "llama2-7b",
    "AutoModelForImageClassification": "vit-b16",
}


class Head(Protocol):
    """What a task says of the model that it needs; any `Task` does."""

    auto_class: ClassVar[str]
    processor_class: ClassVar[str]

    def model_options(self) -> dict[str, Any]:
        """Return the entries of the model's configuration that the task fixes."""
        ...


@dataclass(frozen=True)
class Backbone:
    """A pretrained model with a task head, and the processor it was pretrained with.

    Attributes:
        model: frozen or not, as it was loaded.
        processor: its tokenizer or image processor.
        fingerprint: of the pretrained weights, without the head.
    """

    model: PreTrainedModel
    processor: Any
    fingerprint: str


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: the paper's counts are `adapter`, which leaves the head out."""

    adapter: int
    head: int
    total: int


def load_backbone(cfg: ModelConfig, head: Head) -> Backbone:
    """Load model and processor from a folder or the hub, safetensors only.

    Args:
        cfg: where the model is, and its precision.
        head: the task, or whatever says which head goes on the model.

    Raises:
        GoftError: no such model, another architecture, pickled or damaged weights, no network, or
            an unknown rotation engine in the environment.
    """
    check_engine()
    location = model_location(cfg.path)
    source = {"revision": cfg.revision or "main", "trust_remote_code": cfg.trust_remote_code}
    with reading(location, cfg.path):
        config = AutoConfig.from_pretrained(location, **source)
        check_architecture(config, head.auto_class, cfg.path)
        for key, value in head.model_options().items():
            setattr(config, key, value)
        processor = getattr(transformers, head.processor_class).from_pretrained(location, **source)
        if isinstance(processor, PreTrainedTokenizerBase):
            check_vocabulary(processor, cfg.path)
        model = load_model(location, head.auto_class, config, cfg, source)
    padding = getattr(processor, "pad_token_id", None)
    if padding is not None:
        model.config.pad_token_id = padding
    return Backbone(model, processor, fingerprint(model, cfg.head_modules))


@contextmanager
def reading(location: Path | str, path: str) -> Iterator[None]:
    """Turn the libraries' complaints about a folder or a hub id into one sentence.

    Raises:
        GoftError: what the folder or the hub lacks.
    """
    if isinstance(location, str):
        with hub.require("model", location, remedy=MODEL_REMEDY):
            yield
        return
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GoftError(
            f"model.path={path}: {reason}; pass a folder written by save_pretrained"
        ) from error


def check_architecture(config: transformers.PretrainedConfig, auto_class: str, path: str) -> None:
    """Refuse a model that has no head of the wanted kind.

    Raises:
        GoftError: names the architecture found.
    """
    known = getattr(transformers, auto_class)._model_mapping
    if type(config) not in known:
        raise GoftError(
            f"model.path={path}: found the architecture {config.model_type}, which has no "
            f"{auto_class.removeprefix('AutoModelFor')} head; choose a model such as "
            f"model={EXAMPLES[auto_class]}"
        )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Refuse a tokenizer that knows no words: transformers makes one where the files are absent.

    Raises:
        GoftError: there are special tokens only.
    """
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise GoftError(
            f"model.path={path}: no vocabulary there, expected tokenizer.json or the like; "
            "save the model's tokenizer into the same folder"
        )


def load_model(
    location: Path | str,
    auto_class: str,
    config: transformers.PretrainedConfig,
    cfg: ModelConfig,
    source: dict[str, Any],
) -> PreTrainedModel:
    """Load the weights and make sure that only the head is new.

    Raises:
        GoftError: the file is damaged, or weights of the backbone are missing from it.
    """
    try:
        model, info = getattr(transformers, auto_class).from_pretrained(
            location,
            config=config,
            dtype=getattr(torch, cfg.dtype.value),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for another number of labels is made anew
            **source,
        )
    except SafetensorError as error:
        raise GoftError(
            f"model.path={cfg.path}: model.safetensors is damaged ({error}); copy it again"
        ) from error
    unfit = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    absent = [key for key in unfit if not in_modules(key, cfg.head_modules)]
    if absent:
        raise GoftError(
            f"model.path={cfg.path}: its weights lack {len(absent)} tensors of a "
            f"{type(model).__name__} outside the head, such as {min(absent)}; pass a folder whose "
            "config.json and model.safetensors belong together"
        )
    return model


def in_modules(name: str, modules: list[str]) -> bool:
    """Tell whether a parameter lies in one of the modules, by their last name."""
    return any(part in modules for part in name.split("."))


@torch.no_grad()
def fingerprint(model: nn.Module, head_modules: list[str]) -> str:
    """Digest names, shapes and sampled values of the backbone, to know it again."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if in_modules(name, head_modules):
            continue
        sample = parameter.flatten()[:: max(1, parameter.numel() // SAMPLED_PER_TENSOR)]
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()


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

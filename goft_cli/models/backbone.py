"""The pretrained model with the task's head, and its processor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import ModelConfig
from goft_cli.config.model import check_engine, check_tokenizer
from goft_cli.data.model_files import bring_settings, revision_of
from goft_cli.models.heads import head_of, new_head
from goft_cli.models.processors import Reader, fit_together, load_processor
from goft_cli.models.weights import check_packing, keep_packing, open_weights, unpack
from goft_cli.system.digests import fingerprint, in_modules
from goft_cli.system.errors import GoftError, is_out_of_memory, is_panic
from goft_cli.system.locations import model_location

CAUSAL_LM = "AutoModelForCausalLM"
EXAMPLES = {
    "AutoModelForSequenceClassification": "deberta-v3-base",
    "AutoModelForTokenClassification": "deberta-v3-base",
    "AutoModelForQuestionAnswering": "deberta-v3-base",
    CAUSAL_LM: "llama2-7b",
    "AutoModelForImageClassification": "vit-b16",
}
BLOCK_WEIGHT = re.compile(r"(.+?)\.\d+\..*weight$")
"""A tensor of a numbered block, and the list that the block is in."""
ADAPTER_SETTINGS = "adapter_config.json"
"""PEFT's file that makes a folder an adapter's."""
MOST_BLOCKS = 1000
"""Most blocks to accept: a larger number comes from a damaged file, and building takes hours."""


class Head(Reader, Protocol):
    """The parts of a `Task` that describe the model it needs."""

    auto_class: ClassVar[str]

    def model_options(self) -> dict[str, Any]:
        """Return the entries of the model's configuration that the task fixes."""
        ...


@dataclass(frozen=True)
class Backbone:
    """A pretrained model with a task head, and the processor it was pretrained with."""

    model: PreTrainedModel
    processor: Any
    """Its tokenizer or image processor."""
    fingerprint: str
    """Digest of the pretrained weights, without the head."""
    revision: str | None = None
    """Commit of the weights on the hub; None if it is not known."""


def load_backbone(cfg: ModelConfig, head: Head, *, unpacked: bool = False) -> Backbone:
    """Load model and processor from a folder or the hub; nothing is unpickled.

    With `unpacked`, quantized weights are dequantized.
    """
    check_engine()
    check_tokenizer(cfg)
    folder = model_folder(cfg)
    with reading(cfg.path):
        config = read_config(folder, cfg, head)
        check_architecture(config, head.auto_class, cfg)
        check_attention(config, head.auto_class, cfg)
        if cfg.head_modules is None:
            empty = without_weights(config, head.auto_class, cfg)
            cfg = replace(cfg, head_modules=head_of(empty, cfg))
        processor = load_processor(folder, cfg, head)
        model = load_model(folder, head.auto_class, config, cfg)
    fit_together(processor, model, cfg.path)
    if isinstance(model_location(cfg.path), str):
        # files and errors are to name the hub id, and not the cache of this machine
        model.name_or_path = model.config.name_or_path = cfg.path
        if isinstance(processor, PreTrainedTokenizerBase):
            processor.name_or_path = cfg.path
    keep_packing(model)
    known_by = fingerprint(model, head_of(model, cfg))
    if cfg.quantization and unpacked:
        unpack(model, cfg.dtype)
    return Backbone(model, processor, known_by, revision_of(folder))


def model_folder(cfg: ModelConfig) -> Path:
    """Return the folder with a model's configuration and tokenizer, downloaded if need be."""
    location = model_location(cfg.path)
    return location if isinstance(location, Path) else bring_settings(cfg)


def read_config(folder: Path, cfg: ModelConfig, head: Head) -> transformers.PretrainedConfig:
    """Read a model's config.json, and set the entries that the task fixes."""
    check_plain(folder, cfg)
    config = AutoConfig.from_pretrained(folder, **cfg.source)
    check_packing(getattr(config, "quantization_config", None) or {}, cfg)
    blocks = getattr(config, "num_hidden_layers", None)
    if isinstance(blocks, int) and blocks > MOST_BLOCKS:
        raise GoftError(
            f"model.path={cfg.path}: found num_hidden_layers={blocks} in config.json, expected at "
            f"most {MOST_BLOCKS}",
            "copy the file again",
        )
    for key, value in head.model_options().items():
        setattr(config, key, value)
    vision = getattr(config, "vision_config", None)
    if head.auto_class == "AutoModelForImageClassification" and vision is not None:
        vision.vision_use_head = False  # SigLIP's pooling, which its classifier does not read
    if cfg.attn_implementation is not None:
        config._attn_implementation = cfg.attn_implementation
    return config


def check_plain(folder: Path, cfg: ModelConfig) -> None:
    """Refuse a model folder with an adapter, which transformers would load too."""
    if (folder / ADAPTER_SETTINGS).is_file():
        raise GoftError(
            f"model.path={cfg.path}: found an adapter beside the model ({ADAPTER_SETTINGS})",
            "pass a folder of the base model alone, or one into which the adapter is merged",
        )


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn the libraries' errors about a model's files into one message."""
    try:
        yield
    except GoftError:
        raise
    except BaseException as error:  # a value in the files may break any line of the libraries
        if is_out_of_memory(error) or not (isinstance(error, Exception) or is_panic(error)):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        if not isinstance(error, OSError | ValueError):
            reason = f"transformers cannot use its files ({reason})"
        raise GoftError(
            f"model.path={path}: {reason}", "pass a folder written by save_pretrained"
        ) from error


def check_architecture(
    config: transformers.PretrainedConfig, auto_class: str, cfg: ModelConfig
) -> None:
    """Refuse a model that has no head of the wanted kind, or whose modules have other names.

    Some of the names often fit anyway; the other layers would silently get no adapter.
    """
    found = config.model_type
    known = getattr(transformers, auto_class)._model_mapping
    if type(config) not in known or (auto_class == CAUSAL_LM and is_encoder(config)):
        raise GoftError(
            f"model.path={cfg.path}: found the architecture {found}, which has no "
            f"{auto_class.removeprefix('AutoModelFor')} head",
            f"choose a model such as model={EXAMPLES[auto_class]}",
        )
    if cfg.architecture not in {None, found}:
        raise GoftError(
            f"model.path={cfg.path}: found the architecture {found}, but the modules of "
            f"model={cfg.name} are named as in {cfg.architecture}",
            f"choose a model= of {found}, or pass model.architecture={found} if they are named "
            "alike",
        )


def is_encoder(config: transformers.PretrainedConfig) -> bool:
    """Tell whether each token attends to later tokens."""
    masked = type(config) in transformers.AutoModelForMaskedLM._model_mapping
    return masked and not getattr(config, "is_decoder", False)


def check_attention(
    config: transformers.PretrainedConfig, auto_class: str, cfg: ModelConfig
) -> None:
    """Refuse an attention implementation that the model or this machine does not have."""
    if cfg.attn_implementation is None:
        return
    try:
        without_weights(config, auto_class, cfg)
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise GoftError(
            f"model.attn_implementation={cfg.attn_implementation}: {reason}",
            "leave it out, and transformers chooses one, or pass eager",
        ) from error


def load_model(
    folder: Path, auto_class: str, config: transformers.PretrainedConfig, cfg: ModelConfig
) -> PreTrainedModel:
    """Load the weights; refuse them if they do not fit the configuration, except for the head."""
    model, info = open_weights(folder, auto_class, config, cfg)
    unfit = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    there = head_of(model, cfg)
    absent = [key for key in unfit if not in_modules(key, there)]
    if absent:
        outside = {key for key, _ in model.named_parameters() if not in_modules(key, there)}
        if outside <= {*info["missing_keys"]}:
            raise GoftError(
                f"model.path={cfg.path}: its weights have none of the names that a "
                f"{type(model).__name__} has",
                f"choose a model such as model={EXAMPLES[auto_class]}",
            )
        raise incomplete(model, absent, there, cfg)
    # heads of other kinds, which are left out, may be numbered too, in lists of their own
    known = [name for name, _ in model.named_modules()]
    blocks = {key: BLOCK_WEIGHT.match(key) for key in info["unexpected_keys"]}
    surplus = [key for key, found in blocks.items() if found and selects(found[1], known)]
    if surplus:
        raise GoftError(
            f"model.path={cfg.path}: its weights have {len(surplus)} tensors more than a "
            f"{type(model).__name__} of its config.json, such as {min(surplus)}",
            "pass a folder whose config.json and model.safetensors belong together",
        )
    return model


def incomplete(
    model: PreTrainedModel, absent: Sequence[str], head: Sequence[str], cfg: ModelConfig
) -> GoftError:
    """Return the error for weights that lack tensors outside the head."""
    remedy = "pass a folder whose config.json and model.safetensors belong together"
    if new := new_head(model, absent):
        remedy = f"pass model.head_modules=[{','.join([*head, *new])}] to train them"
    return GoftError(
        f"model.path={cfg.path}: its weights lack {len(absent)} tensors of a "
        f"{type(model).__name__} outside the head, such as {min(absent)}",
        remedy,
    )


def selects(word: object, names: Iterable[str]) -> bool:
    """Tell whether a name or suffix selects one of the modules."""
    return any(f".{name}".endswith(f".{word}") for name in names)


def empty_model(
    cfg: ModelConfig, head: Head, device: str = "meta", blocks: int | None = None
) -> PreTrainedModel:
    """Build the model with the task's head from its `config.json` only, without its weights.

    The weights are random, or absent on "meta". With `blocks` the model has only its first blocks.
    """
    folder = model_folder(cfg)
    with reading(cfg.path):
        config = read_config(folder, cfg, head)
        if blocks is not None:
            config.num_hidden_layers = blocks
        return without_weights(config, head.auto_class, cfg, device)


def without_weights(
    config: transformers.PretrainedConfig, auto_class: str, cfg: ModelConfig, device: str = "meta"
) -> PreTrainedModel:
    """Build the model of a configuration without its weights, in the precision of `cfg`."""
    with torch.device(device):
        kind = getattr(transformers, auto_class)
        return kind.from_config(config, dtype=getattr(torch, cfg.dtype.value))

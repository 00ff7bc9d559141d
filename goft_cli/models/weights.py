"""Loads a model's weights as tensors only, and quantizes them to 4 or 8 bits if configured."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from safetensors import SafetensorError
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from goft_cli.config import Dtype, ModelConfig, Quantization
from goft_cli.data.model_files import SAFE, bring_weights, require_shards, require_weights
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import model_location

logger = logging.getLogger(__name__)


def open_weights(
    folder: Path, auto_class: str, config: transformers.PretrainedConfig, cfg: ModelConfig
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load the weights in the precision of `cfg`, whatever the file's precision is.

    Also returns transformers' loading report of missing and unexpected tensors.
    """
    form, quantized = find_weights(folder, cfg), packing(cfg)
    if getattr(config, "quantization_config", None):
        quantized.pop("quantization_config", None)  # transformers reads it from config.json
    try:
        return getattr(transformers, auto_class).from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, cfg.dtype.value),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for another number of labels is made anew
            **reading_of(form),
            **quantized,
            **cfg.source,
        )
    except SafetensorError as error:
        raise GoftError(
            f"model.path={cfg.path}: {form} is damaged ({error})", "copy it again"
        ) from error
    except (pickle.UnpicklingError, EOFError, OSError) as error:
        if form in SAFE:
            raise
        raise GoftError(
            f"model.path={cfg.path}: {form} cannot be read as tensors only: it is damaged, or "
            "reading it could run a program",
            "copy it again, or save the model as safetensors on a machine where you trust it",
        ) from error


def find_weights(folder: Path, cfg: ModelConfig) -> str:
    """Return which of `model_files.WEIGHTS` a model has, downloaded if need be."""
    if isinstance(model_location(cfg.path), str):
        form = bring_weights(cfg, folder)
    else:
        form = require_weights([path.name for path in folder.iterdir()], cfg.path)
        require_shards(folder, form, cfg.path)
    if form not in SAFE:
        logger.info("%s has its weights in %s: only tensors are read from it", cfg.path, form)
    return form


def reading_of(form: str) -> dict[str, bool]:
    """Return the options with which transformers reads only this file and unpickles nothing."""
    return {"use_safetensors": form in SAFE, "weights_only": True}


def packing(cfg: ModelConfig) -> dict[str, Any]:
    """Return the options with which transformers quantizes the linear layers, except the head's."""
    if cfg.quantization is None:
        return {}
    quantization = BitsAndBytesConfig(
        load_in_4bit=cfg.quantization is Quantization["4bit"],
        load_in_8bit=cfg.quantization is Quantization["8bit"],
        llm_int8_skip_modules=[
            rf"(.*\.)?{name}" for name in (*(cfg.head_modules or []), "lm_head")
        ],
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, cfg.dtype.value),
    )
    return {"quantization_config": quantization, "device_map": {"": PartialState().device}}


def check_packing(stored: Mapping[str, Any], cfg: ModelConfig) -> None:
    """Refuse weights that are stored quantized in another form than `model.quantization`.

    `stored` is what config.json says of them. transformers would load them in that form.
    """
    words = {"load_in_4bit": Quantization["4bit"], "load_in_8bit": Quantization["8bit"]}
    bits = next((word for key, word in words.items() if stored.get(key)), None)
    if not stored or stored.get("dequantize") or (bits is not None and bits is cfg.quantization):
        return
    form, remedy = stored.get("quant_method"), "pass a folder whose weights are not quantized"
    if bits is not None:
        form, remedy = bits.value, f"pass model.quantization={bits.value}"
    raise GoftError(f"model.path={cfg.path}: its weights are stored quantized ({form})", remedy)


def unpack(model: PreTrainedModel, dtype: Dtype) -> None:
    """Dequantize a model, and forget how its weights were read, so that it can be saved plain."""
    model.dequantize(dtype=getattr(torch, dtype.value))
    steps = getattr(model, "_weight_conversions", None)
    if steps is not None:
        kept = [step for step in steps if is_reversible(step)]
        object.__setattr__(model, "_weight_conversions", kept)


def is_reversible(step: Any) -> bool:  # noqa: ANN401 - a step of transformers' loading
    """Tell whether a step of loading can be undone when a model is saved; unpacking cannot."""
    try:
        step.reverse_transform()
    except NotImplementedError:
        return False
    return True


def keep_packing(model: nn.Module) -> None:
    """Stop bitsandbytes from changing 4-bit weights.

    On some CPUs it would quantize them again in the first evaluation, with coarser scales, and fail
    for widths that its blocks do not divide.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            object.__setattr__(module, "support_avx512bf16_for_cpu", False)

"""Frozen weights packed into 4 or 8 bits by bitsandbytes, through transformers."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import BitsAndBytesConfig

from goft_cli.config import ModelConfig, Quantization


def packing(cfg: ModelConfig) -> dict[str, Any]:
    """Return what makes transformers pack the linear layers, the head's left out."""
    if cfg.quantization is None:
        return {}
    quantization = BitsAndBytesConfig(
        load_in_4bit=cfg.quantization is Quantization["4bit"],
        load_in_8bit=cfg.quantization is Quantization["8bit"],
        llm_int8_skip_modules=[rf"(.*\.)?{name}" for name in (*cfg.head_modules, "lm_head")],
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, cfg.dtype.value),
    )
    return {"quantization_config": quantization, "device_map": {"": PartialState().device}}


def keep_packing(model: nn.Module) -> None:
    """Have bitsandbytes leave 4-bit weights as they are.

    On some CPUs it would pack them anew in the first evaluation, with coarser scales, and fail at
    widths that its blocks do not divide.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            object.__setattr__(module, "support_avx512bf16_for_cpu", False)

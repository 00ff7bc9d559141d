"""The models to measure on: published sizes, random weights, cut to a few layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    LlamaConfig,
    PreTrainedModel,
    ViTConfig,
)

Batch = dict[str, Tensor]

PIXELS, IMAGE_CLASSES = 224, 100


@dataclass(frozen=True)
class Size:
    """How much of a model, and how much data at once."""

    layers: int
    width: int | None
    """Hidden size; the published one if None, anything else for trying out."""
    batch: int
    length: int
    tokens: int
    """Rows of the single layer; the other shapes have batch x length."""


@dataclass(frozen=True)
class Shape:
    """A model and what of it is adapted."""

    build: Callable[[Size, torch.dtype], nn.Module]
    batch: Callable[[Size, torch.dtype], Batch]
    targets: str
    """Matched against the whole name of a linear layer."""
    head: tuple[str, ...] = ()
    """Modules that are new in a downstream task, hence trained in full beside every adapter."""
    probe: tuple[str, ...] = ()
    """Modules that a linear probe trains."""


@dataclass
class Output:
    """What the training step needs of a model's output."""

    loss: Tensor
    logits: Tensor


class SingleLayer(nn.Module):
    """One linear layer as it stands inside a network: its input always wants a gradient."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width, dtype=dtype)

    def forward(self, x: Tensor) -> Output:
        """(tokens, width) to a mean square and the (tokens, width) behind it."""
        if self.training:
            x = x.detach().requires_grad_()
        y = self.layer(x)
        return Output(y.square().mean(), y)


def single_layer(size: Size, dtype: torch.dtype) -> nn.Module:
    """Return the layer alone, 768 wide unless told otherwise."""
    return SingleLayer(size.width or 768, dtype)


def deberta(size: Size, dtype: torch.dtype) -> nn.Module:
    """DeBERTaV3-base with a classifier, its dropout of 0.1 included."""
    width = size.width or 768
    sizes: dict[str, Any] = {
        "vocab_size": 128100,
        "hidden_size": width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": 4 * width,
        "num_labels": 2,
    }
    attention: dict[str, Any] = {
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "max_relative_positions": -1,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    }
    config = DebertaV2Config(**sizes, **attention)
    return AutoModelForSequenceClassification.from_config(config, dtype=dtype)


def llama(size: Size, dtype: torch.dtype) -> nn.Module:
    """LLaMA2-7B with its language-modelling head."""
    width = size.width or 4096
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=width,
        num_hidden_layers=size.layers,
        num_attention_heads=max(1, width // 128),
        intermediate_size=11008 * width // 4096,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        use_cache=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def vit(size: Size, dtype: torch.dtype) -> nn.Module:
    """ViT-B/16 with a classifier."""
    width = size.width or 768
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": 4 * width,
        "image_size": PIXELS,
        "patch_size": 16,
        "num_labels": IMAGE_CLASSES,
    }
    config = ViTConfig(**sizes)
    return AutoModelForImageClassification.from_config(config, dtype=dtype)


def rows(size: Size, dtype: torch.dtype) -> Batch:
    """Return (tokens, width) of noise."""
    return {"x": torch.randn(size.tokens, size.width or 768, dtype=dtype)}


def sentences(size: Size, dtype: torch.dtype) -> Batch:
    """Return sentences of full length with a label each; below 32000 are words of both models."""
    words = torch.randint(5, 32000, (size.batch, size.length))
    return {
        "input_ids": words,
        "attention_mask": torch.ones_like(words),
        "labels": torch.randint(0, 2, (size.batch,)),
    }


def text(size: Size, dtype: torch.dtype) -> Batch:
    """Return sentences whose labels are their own words."""
    batch = sentences(size, dtype)
    return {**batch, "labels": batch["input_ids"]}


def images(size: Size, dtype: torch.dtype) -> Batch:
    """Return (batch, 3, 224, 224) of noise with a label each."""
    return {
        "pixel_values": torch.randn(size.batch, 3, PIXELS, PIXELS, dtype=dtype),
        "labels": torch.randint(0, IMAGE_CLASSES, (size.batch,)),
    }


SHAPES: dict[str, Shape] = {
    "deberta-v3-base": Shape(
        deberta,
        sentences,
        r".*\.encoder\.layer\.\d+\..*(query_proj|key_proj|value_proj|dense)",
        head=("pooler", "classifier"),
        probe=("pooler", "classifier"),
    ),
    "llama2-7b": Shape(llama, text, r".*\.layers\.\d+\.self_attn\.[qkvo]_proj", probe=("lm_head",)),
    "vit-b16": Shape(
        vit,
        images,
        r".*\.layers\.\d+\..*([qkvo]_proj|fc1|fc2)",
        head=("classifier",),
        probe=("classifier",),
    ),
    "linear": Shape(single_layer, rows, r"layer"),
}


def build(shape: Shape, size: Size, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a frozen model with random weights, made where it will run."""
    with torch.device(device):
        model = shape.build(size, dtype)
    return model.requires_grad_(False)


def batch(shape: Shape, size: Size, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return one batch of random data."""
    return {name: value.to(device) for name, value in shape.batch(size, dtype).items()}


def let_gradients_in(model: nn.Module) -> None:
    """Make the output of the embedding want a gradient; a single layer's input always does."""
    if isinstance(model, PreTrainedModel):
        model.enable_input_require_grads()

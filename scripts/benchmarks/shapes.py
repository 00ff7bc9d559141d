"""Build models of published shapes with random weights and few blocks, and batches for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """The shape of a published model, and how to make its inputs.

    Attributes:
        model: name of the YAML in configs/model that says which of its linears are adapted.
        auto_class: the transformers Auto class, which determines the head.
        blocks: number of blocks of the published model.
        configure: returns the model's configuration for a number of blocks.
        batch: returns model inputs and targets for (rows, length).
    """

    model: str
    auto_class: str
    blocks: int
    configure: Callable[[int], tf.PretrainedConfig]
    batch: Callable[[int, int], dict[str, Tensor]]


DEBERTA_V3: dict[str, Any] = {
    "vocab_size": 128_100,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": -1,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
}
"""Values of microsoft/deberta-v3-base's config.json; the dropout is the class's default, 0.1."""


def deberta_v3_base(blocks: int) -> tf.PretrainedConfig:
    """Return the configuration of DeBERTaV3-base."""
    return tf.DebertaV2Config(**DEBERTA_V3, num_hidden_layers=blocks)


def minilm_l6(blocks: int) -> tf.PretrainedConfig:
    """Return the configuration of MiniLM-L6 of sentence-transformers."""
    return tf.BertConfig(
        hidden_size=384, intermediate_size=1536, num_attention_heads=12, num_hidden_layers=blocks
    )


def llama2_7b(blocks: int) -> tf.PretrainedConfig:
    """Return the configuration of LLaMA2-7B."""
    return tf.LlamaConfig(num_hidden_layers=blocks)


def smollm2_135m(blocks: int) -> tf.PretrainedConfig:
    """Return the configuration of SmolLM2-135M."""
    return tf.LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=blocks,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )


def vit_b16(blocks: int) -> tf.PretrainedConfig:
    """Return the configuration of ViT-B/16 for 224 pixels and the 100 classes of VTAB's CIFAR."""
    classes: dict[str, Any] = {"num_labels": 100}
    return tf.ViTConfig(num_hidden_layers=blocks, **classes)


def sentences(rows: int, length: int) -> dict[str, Tensor]:
    """Return random tokens with one of two labels per row."""
    return {
        "input_ids": torch.randint(5, 30_000, (rows, length)),
        "attention_mask": torch.ones(rows, length, dtype=torch.long),
        "labels": torch.randint(2, (rows,)),
    }


def text(rows: int, length: int) -> dict[str, Tensor]:
    """Return random tokens, which are their own targets for next-token prediction."""
    tokens = torch.randint(5, 30_000, (rows, length))
    return {"input_ids": tokens, "labels": tokens.clone()}


def pictures(rows: int, length: int) -> dict[str, Tensor]:
    """Return random images of 224 pixels and 197 tokens, whatever the length."""
    return {"pixel_values": torch.randn(rows, 3, 224, 224), "labels": torch.randint(100, (rows,))}


SHAPES = {
    "minilm-l6": Shape("minilm-l6", "AutoModelForSequenceClassification", 6, minilm_l6, sentences),
    "deberta-v3-base": Shape(
        "deberta-v3-base", "AutoModelForSequenceClassification", 12, deberta_v3_base, sentences
    ),
    "llama2-7b": Shape("llama2-7b", "AutoModelForCausalLM", 32, llama2_7b, text),
    "smollm2-135m": Shape("smollm2-135m", "AutoModelForCausalLM", 30, smollm2_135m, text),
    "vit-b16": Shape("vit-b16", "AutoModelForImageClassification", 12, vit_b16, pictures),
}


def build(shape: Shape, blocks: int, dtype: torch.dtype, device: torch.device) -> Any:  # noqa: ANN401 - Auto classes are untyped
    """Return a model of the shape with a number of blocks and random weights."""
    torch.manual_seed(0)
    auto = getattr(tf, shape.auto_class)
    with device:
        return auto.from_config(shape.configure(blocks), dtype=dtype)

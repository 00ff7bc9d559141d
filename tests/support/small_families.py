"""Families of models that transformers has, of random weights and a size that trains at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, set_seed
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from goft_cli.system.locations import asset_dir

Sizes = dict[str, Any]
SIDE = 16
VOCABULARY = 800
"""Rows of the embeddings; the tokenizer of tiny-llama, which all of them have, needs fewer."""
ENDS: Sizes = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BLOCKS: Sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
TEXT: Sizes = {
    **BLOCKS,
    **ENDS,
    "intermediate_size": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
}
DECODER: Sizes = {**TEXT, "num_key_value_heads": 1}
HEADS: Sizes = {**DECODER, "head_dim": 8}
IMAGE: Sizes = {**BLOCKS, "image_size": SIDE, "patch_size": 4}
VISION: Sizes = {**IMAGE, "intermediate_size": 32}

FAMILIES: dict[str, tuple[str, Sizes]] = {
    "LLaMA": ("llama", DECODER),
    "Qwen2": ("qwen2", DECODER),
    "Qwen3": ("qwen3", HEADS),
    "Mistral": ("mistral", DECODER),
    "Gemma 2": ("gemma2", HEADS),
    "Gemma 3": ("gemma3_text", HEADS),
    "Gemma 3 with images": (
        "gemma3",
        {"text_config": HEADS, "vision_config": VISION, "mm_tokens_per_image": 4},
    ),
    "Phi-3": ("phi3", DECODER),
    "GPT-2": (
        "gpt2",
        {
            "n_layer": 2,
            "n_embd": 16,
            "n_head": 2,
            "n_positions": 256,
            "vocab_size": VOCABULARY,
            **ENDS,
        },
    ),
    "OPT": ("opt", {**TEXT, "ffn_dim": 32, "word_embed_proj_dim": 16}),
    "BERT": ("bert", TEXT),
    "RoBERTa": ("roberta", {**TEXT, "max_position_embeddings": 260}),
    "DeBERTa": ("deberta", {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "DeBERTaV3": (
        "deberta-v2",
        {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "ModernBERT": ("modernbert", TEXT),
    "ELECTRA": ("electra", {**TEXT, "embedding_size": 8}),
    "T5": (
        "t5",
        {
            "num_layers": 2,
            "d_model": 16,
            "num_heads": 2,
            "d_kv": 8,
            "d_ff": 32,
            "vocab_size": VOCABULARY,
            "decoder_start_token_id": 0,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
    ),
    "ViT": ("vit", VISION),
    "DINOv2": ("dinov2", {**IMAGE, "mlp_ratio": 2}),
    "Swin": (
        "swin",
        {
            "image_size": SIDE,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 2,
        },
    ),
    "SigLIP": ("siglip", {"vision_config": VISION, "text_config": TEXT}),
}


def config_of(family: str) -> PretrainedConfig:
    """Return the configuration of a family's small model."""
    kind, sizes = FAMILIES[family]
    return AutoConfig.for_model(kind, **sizes)


def write_family(family: str, folder: Path, auto_class: str = "AutoModel") -> Path:
    """Save a family's small model as its Auto class builds it, and what turns rows into inputs."""
    set_seed(0)
    config = config_of(family)
    getattr(transformers, auto_class).from_config(config).save_pretrained(folder)
    if type(config) in transformers.AutoModelForImageClassification._model_mapping:
        ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    else:
        tokenizer = AutoTokenizer.from_pretrained(asset_dir("tiny-llama"))
        if config.is_encoder_decoder:  # T5 looks for the end of a text in each row
            end = TemplateProcessing(
                single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 2)]
            )
            tokenizer.backend_tokenizer.post_processor = end
        tokenizer.save_pretrained(folder)
    return folder

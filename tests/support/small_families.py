"""Model families of transformers: small models with random weights, which train quickly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, set_seed
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from goft_cli.system.locations import asset_dir
from tests.support.architectures import CAUSAL_LM

Sizes = dict[str, Any]
SIDE = 16
PICTURES = {"vit", "dinov2", "swin", "siglip", "siglip_vision_model"}
"""Architectures of image models; this package's tasks give them no text."""
ENDS: Sizes = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
"""Special tokens of tiny-llama's tokenizer, which all text models here use."""
WORDS: Sizes = {**ENDS, "vocab_size": 800}
BLOCKS: Sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
TEXT: Sizes = {**BLOCKS, **WORDS, "intermediate_size": 32, "max_position_embeddings": 256}
DECODER: Sizes = {**TEXT, "num_key_value_heads": 1}
HEADS: Sizes = {**DECODER, "head_dim": 8}
RELATIVE: Sizes = {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
IMAGE: Sizes = {**BLOCKS, "image_size": SIDE, "patch_size": 4}
VISION: Sizes = {**IMAGE, "intermediate_size": 32}
GPT2: Sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 256, **WORDS}
T5: Sizes = {
    "num_layers": 2,
    "d_model": 16,
    "num_heads": 2,
    "d_kv": 8,
    "d_ff": 32,
    "decoder_start_token_id": 0,
    **WORDS,
}
WINDOWS: Sizes = {
    "image_size": SIDE,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 2,
}
IMAGES_AND_TEXT: Sizes = {"text_config": HEADS, "vision_config": VISION, "mm_tokens_per_image": 4}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        kind: its `model_type` in `config.json`.
        sizes: the settings of a small model.
        published: the class of transformers with which the models on the hub were saved.
    """

    kind: str
    sizes: Sizes
    published: str = "AutoModel"


FAMILIES = {
    "LLaMA": Family("llama", DECODER, CAUSAL_LM),
    "Qwen2": Family("qwen2", DECODER, CAUSAL_LM),
    "Qwen3": Family("qwen3", HEADS, CAUSAL_LM),
    "Mistral": Family("mistral", DECODER, CAUSAL_LM),
    "Gemma 2": Family("gemma2", HEADS, CAUSAL_LM),
    "Gemma 3": Family("gemma3_text", HEADS, CAUSAL_LM),
    "Gemma 3 with images": Family("gemma3", IMAGES_AND_TEXT, CAUSAL_LM),
    "Phi-3": Family("phi3", DECODER, CAUSAL_LM),
    "GPT-2": Family("gpt2", GPT2, CAUSAL_LM),
    "OPT": Family("opt", {**TEXT, "ffn_dim": 32, "word_embed_proj_dim": 16}, CAUSAL_LM),
    "BERT": Family("bert", TEXT),
    "RoBERTa": Family("roberta", {**TEXT, "max_position_embeddings": 260}),
    "DeBERTa": Family("deberta", RELATIVE),
    "DeBERTaV3": Family("deberta-v2", RELATIVE),
    "ModernBERT": Family("modernbert", TEXT),
    "ELECTRA": Family("electra", {**TEXT, "embedding_size": 8}),
    "T5": Family("t5", T5),
    "T5 encoder": Family("t5", T5, "T5EncoderModel"),
    "ViT": Family("vit", VISION),
    "DINOv2": Family("dinov2", {**IMAGE, "mlp_ratio": 2}),
    "Swin": Family("swin", WINDOWS),
    "SigLIP": Family("siglip", {"vision_config": VISION, "text_config": TEXT}),
    "SigLIP vision tower": Family("siglip_vision_model", VISION),
}


def config_of(family: str) -> PretrainedConfig:
    """Return the configuration of a family's small model."""
    return AutoConfig.for_model(FAMILIES[family].kind, **FAMILIES[family].sizes)


def write_family(family: str, folder: Path) -> Path:
    """Save a family's small model as it is published, with its image processor or tokenizer."""
    set_seed(0)
    kind = getattr(transformers, FAMILIES[family].published)
    model = getattr(kind, "from_config", kind)(config_of(family))
    model.save_pretrained(folder)
    if FAMILIES[family].kind in PICTURES:
        ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
        return folder
    tokenizer = AutoTokenizer.from_pretrained(asset_dir("tiny-llama"))
    if family.startswith("T5"):  # its classifier reads the </s> of each row
        end = TemplateProcessing("$A </s>", "$A $B </s>", special_tokens=[("</s>", 2)])
        tokenizer.backend_tokenizer.post_processor = end
    tokenizer.save_pretrained(folder)
    return folder

"""The architecture and sizes of each model under configs/model, to build it without its weights.

The sizes are those of the model's `config.json` on the hub, except where they are the defaults of
transformers' configuration class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import transformers
from peft import PeftModel
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from goft_cli.config import ModelConfig, TrainConfig
from goft_cli.models.adapters import ParameterCount, attach_adapter, count_parameters
from goft_cli.models.backbone import Backbone
from goft_cli.system.locations import ASSET_SCHEME, asset_dir

SEQUENCE_CLASSIFICATION = "AutoModelForSequenceClassification"
QUESTION_ANSWERING = "AutoModelForQuestionAnswering"
CAUSAL_LM = "AutoModelForCausalLM"
IMAGE_CLASSIFICATION = "AutoModelForImageClassification"

Sizes = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """What all models of one architecture have in common.

    Attributes:
        heads: the Auto classes that this package's tasks load it with, the usual one first.
        tiny: the settings of a small model.
        shared: the settings of all models.
    """

    heads: tuple[str, ...]
    tiny: Sizes
    shared: Sizes


BLOCKS: Sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
TEXT: Sizes = {**BLOCKS, "intermediate_size": 32, "vocab_size": 32, "max_position_embeddings": 64}
DECODER = Architecture(
    heads=(CAUSAL_LM, SEQUENCE_CLASSIFICATION),
    tiny={**TEXT, "num_key_value_heads": 1},
    shared={"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
)
IMAGE: Sizes = {**BLOCKS, "image_size": 16, "patch_size": 4}
ARCHITECTURES = {
    "bert": Architecture((SEQUENCE_CLASSIFICATION, QUESTION_ANSWERING), TEXT, {}),
    "roberta": Architecture((SEQUENCE_CLASSIFICATION, QUESTION_ANSWERING), TEXT, {}),
    "deberta-v2": Architecture(
        (SEQUENCE_CLASSIFICATION, QUESTION_ANSWERING),
        TEXT,
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "pooler_dropout": 0,
        },
    ),
    "distilbert": Architecture(
        (SEQUENCE_CLASSIFICATION, QUESTION_ANSWERING),
        {"n_layers": 2, "dim": 16, "n_heads": 2, "hidden_dim": 32, "vocab_size": 32},
        {},
    ),
    "modernbert": Architecture(
        (SEQUENCE_CLASSIFICATION, QUESTION_ANSWERING),
        {**TEXT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        {},
    ),
    "llama": DECODER,
    "qwen2": DECODER,
    "vit": Architecture((IMAGE_CLASSIFICATION,), {**IMAGE, "intermediate_size": 32}, {}),
    "dinov2": Architecture((IMAGE_CLASSIFICATION,), {**IMAGE, "mlp_ratio": 2}, {}),
}


def sizes(blocks: int, width: int, heads: int, inner: int, vocabulary: int, **more: Any) -> Sizes:  # noqa: ANN401
    """Return the sizes of a text model under the names of transformers' configuration."""
    return {
        "num_hidden_layers": blocks,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        **more,
    }


VIT_BASE: Sizes = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
TIED: Sizes = {"tie_word_embeddings": True}
SIZES = {
    "bert-base": sizes(12, 768, 12, 3072, 30522),
    "minilm-l6": sizes(6, 384, 12, 1536, 30522),
    "distilbert-base": {},  # its configuration's defaults, also for the next
    "modernbert-base": {},
    "roberta-base": sizes(12, 768, 12, 3072, 50265, max_position_embeddings=514, type_vocab_size=1),
    "deberta-v3-xsmall": sizes(12, 384, 6, 1536, 128100),
    "deberta-v3-small": sizes(6, 768, 12, 3072, 128100),
    "deberta-v3-base": sizes(12, 768, 12, 3072, 128100),
    "deberta-v3-large": sizes(24, 1024, 16, 4096, 128100),
    "mdeberta-v3-base": sizes(12, 768, 12, 3072, 251000),
    "llama2-7b": sizes(32, 4096, 32, 11008, 32000, num_key_value_heads=32),
    "llama2-13b": sizes(40, 5120, 40, 13824, 32000, num_key_value_heads=40),
    "llama3-8b": sizes(32, 4096, 32, 14336, 128256, num_key_value_heads=8),
    "smollm2-135m": sizes(30, 576, 9, 1536, 49152, num_key_value_heads=3, **TIED),
    "qwen2.5-0.5b": sizes(24, 896, 14, 4864, 151936, num_key_value_heads=2, **TIED),
    "qwen2.5-1.5b": sizes(28, 1536, 12, 8960, 151936, num_key_value_heads=2, **TIED),
    "qwen2.5-7b": sizes(28, 3584, 28, 18944, 152064, num_key_value_heads=4),
    "vit-b16": {**VIT_BASE, "intermediate_size": 3072},
    "vit-b16-qv": {**VIT_BASE, "intermediate_size": 3072},
    "vit-l16": {
        "num_hidden_layers": 24,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "dinov2-base": {**VIT_BASE, "image_size": 518, "patch_size": 14},
}


def architecture(model: ModelConfig) -> Architecture:
    """Return the architecture that a model's YAML names."""
    return ARCHITECTURES[str(model.architecture)]


def is_shipped(path: str) -> bool:
    """Return whether a path is that of a tiny model in the package, not of one on the hub."""
    return path.startswith(ASSET_SCHEME)


def config_of(model: ModelConfig, **changes: Any) -> PretrainedConfig:  # noqa: ANN401
    """Return a model's configuration with some changes; that of a shipped model is unchanged."""
    if is_shipped(model.path):
        return AutoConfig.from_pretrained(asset_dir(model.path.removeprefix(ASSET_SCHEME)))
    entries = {**architecture(model).shared, **SIZES[model.name], **changes}
    return AutoConfig.for_model(str(model.architecture), **entries)


def build(config: PretrainedConfig, auto_class: str, dtype: str = "float32") -> PreTrainedModel:
    """Build a model with random weights."""
    auto = getattr(transformers, auto_class)
    return cast(PreTrainedModel, auto.from_config(config, dtype=getattr(torch, dtype)))


def without_memory(cfg: TrainConfig) -> tuple[PeftModel, ParameterCount]:
    """Attach the adapter to the full-size model on the meta device, which takes no memory."""
    auto_class = architecture(cfg.model).heads[0]
    with torch.device("meta"):
        backbone = Backbone(build(config_of(cfg.model), auto_class), None, "")
        head = cfg.model.head_modules or []
        adapted = attach_adapter(backbone, cfg.adapter, head, auto_class, updates=1000)
    return adapted, count_parameters(adapted, head)

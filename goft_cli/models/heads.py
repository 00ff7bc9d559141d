"""A model's head: the modules that a task puts beside the pretrained model, and trains whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import transformers
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from goft_cli.config import ModelConfig


def head_of(model: nn.Module, cfg: ModelConfig) -> list[str]:
    """Return the modules of the head: those that are named, or else those that a task adds."""
    if cfg.head_modules is not None:
        return cfg.head_modules
    plain = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
    children = dict(plain.named_children())
    pretrained = {plain.base_model_prefix}
    if plain.base_model_prefix not in children:  # its parts lie beside the head
        with torch.device("meta"):
            bare = transformers.AutoModel.from_config(plain.config)
        pretrained = {name for name, _ in bare.named_children()}
    with_weights = [
        n for n, child in children.items() if next(child.parameters(), None) is not None
    ]
    return [name for name in beside(with_weights, plain) if name not in pretrained]


def beside(names: Sequence[str], model: PreTrainedModel) -> list[str]:
    """Return those of the names that are neither the pretrained model nor its output layer."""
    output = model.get_output_embeddings()
    pretrained = [name for name, child in model.named_children() if child is output]
    return [name for name in names if name not in {model.base_model_prefix, *pretrained}]


def new_head(model: PreTrainedModel, absent: Sequence[str]) -> list[str]:
    """Return the modules that absent tensors are in, if they are a head's that a task adds.

    A head lies beside the pretrained model. So does the output layer of a language model, which is
    pretrained too.
    """
    places = sorted({key.partition(".")[0] for key in absent})
    return places if beside(places, model) == places else []

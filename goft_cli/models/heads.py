"""A model's head: the modules that a task adds to the pretrained model and trains in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import transformers
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from goft_cli.config import ModelConfig

POOLER = "pooler"


def head_of(model: nn.Module, cfg: ModelConfig) -> list[str]:
    """Return the modules of the head: the configured ones, or those that a task adds."""
    if cfg.head_modules is not None:
        return cfg.head_modules
    plain = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
    known = pretrained_parts(plain)
    children = {name: next(child.parameters(), None) for name, child in plain.named_children()}
    return [name for name, first in children.items() if first is not None and name not in known]


def pretrained_parts(model: PreTrainedModel) -> set[str]:
    """Name the children of a model that a task does not add: the base model, an output layer.

    In a few architectures the parts of the base model are siblings of the head.
    """
    children, output = dict(model.named_children()), model.get_output_embeddings()
    base = {model.base_model_prefix}
    if model.base_model_prefix not in children:
        with torch.device("meta"):
            base = {*dict(transformers.AutoModel.from_config(model.config).named_children())}
    return base | {name for name, child in children.items() if child is output}


def new_head(model: PreTrainedModel, absent: Sequence[str]) -> list[str]:
    """Return the modules of missing tensors, if they belong to a head that a task adds.

    A pooler, which is part of the base model, is published only with some heads.
    """
    poolers = {key for key in absent if POOLER in key.split(".")}
    places = {key.partition(".")[0] for key in {*absent} - poolers}
    if places & pretrained_parts(model):
        return []
    return [*sorted(places), *([POOLER] if poolers else [])]

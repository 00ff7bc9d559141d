"""Causal language models for tests, shipped and of random weights, and rows for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from goft_cli.locations import asset_dir

VOCABULARY = 50
IGNORED = -100
Row = dict[str, Any]


def random_llama(attention: str = "sdpa", *, seed: int = 0) -> LlamaForCausalLM:
    """Two blocks of width 16 with random weights; no token for padding."""
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,  # else attention hardly matters
    )
    config._attn_implementation = attention
    return LlamaForCausalLM(config).eval()


def shipped_llama() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tiny-llama and its tokenizer."""
    folder = asset_dir("tiny-llama")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def random_rows(lengths: Sequence[tuple[int, int]], *, seed: int = 1) -> list[Row]:
    """Make rows of random ids with so many tokens of prompt and of answer."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for prompt, answer in lengths:
        ids = torch.randint(3, VOCABULARY, (prompt + answer,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    return rows


@torch.no_grad()
def logits_of(model: nn.Module, row: Row) -> Tensor:
    """Return the logits of one row by itself, (length, vocabulary)."""
    return model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0]

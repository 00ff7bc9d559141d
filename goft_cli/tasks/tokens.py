"""Texts into token ids: how they begin, and how many a model and its tokenizer take."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import takewhile
from operator import itemgetter
from typing import Any

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Model = PreTrainedModel
AnyModel = Any  # of transformers or PEFT, which share no type that generates
Tokenizer = PreTrainedTokenizerBase
Batch = dict[str, list[Any]]


def usable_positions(model: nn.Module) -> int | None:
    """Return the most tokens that a text may have, or None where nothing limits it.

    Models in RoBERTa's manner number the tokens from `padding_idx + 1` on, so that the first rows
    of their table are never a token's; of those that count from 0, no table has a `padding_idx`.
    """
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None) or 0
    # XLNet, which says -1, and DeBERTaV3 attend by distance alone
    if positions <= 0 or not getattr(config, "position_biased_input", True):
        return None
    tables = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    paddings = [getattr(table, "padding_idx", None) for table in tables]
    return positions - max((padding + 1 for padding in paddings if padding is not None), default=0)


def usable_length(wanted: int, tokenizer: Tokenizer) -> int:
    """Return the wanted number of tokens, or the tokenizer's own limit if that is smaller."""
    limit = tokenizer.model_max_length
    if wanted > limit:
        logger.warning(
            "task.max_length=%d, but the tokenizer stops at %d; texts are cut at %d tokens",
            *(wanted, limit, limit),
        )
    return min(wanted, limit)


def text_start(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the tokenizer itself puts before a text: its bos, or nothing.

    Neither `bos_token_id` nor `add_bos_token` tells: Qwen2.5 and SmolLM2 add none though they may
    have one, and transformers 5 shows `add_bos_token=False` on tokenizers whose file adds it.
    """
    encoded = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    return [token for token, _ in takewhile(itemgetter(1), pairs)]


def tokenized(
    rows: Dataset, tokenize: Callable[..., Mapping[str, Any]], *, with_indices: bool = False
) -> Dataset:
    """Replace the columns of rows by what `tokenize` makes of a `Batch`, in memory and uncached."""
    return rows.map(
        tokenize,
        batched=True,
        with_indices=with_indices,
        remove_columns=rows.column_names,
        keep_in_memory=True,
        load_from_cache_file=False,
        desc="tokenize",
    )

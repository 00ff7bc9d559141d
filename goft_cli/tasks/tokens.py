"""Rows into token ids, the way every family of texts does it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from operator import itemgetter
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

Batch = dict[str, list[Any]]


def text_start(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that the tokenizer itself puts before a text: its bos, or nothing.

    Neither `bos_token_id` nor `add_bos_token` tells: Qwen2.5 and SmolLM2 add none though they may
    have one, and transformers 5 shows `add_bos_token=False` on tokenizers whose file adds it.
    """
    encoded = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    return [token for token, _ in takewhile(itemgetter(1), pairs)]


def tokenized(rows: Dataset, tokenize: Callable[[Batch], Batch]) -> Dataset:
    """Replace the columns of rows by what `tokenize` makes of them, in memory and uncached."""
    return rows.map(
        tokenize,
        batched=True,
        remove_columns=rows.column_names,
        keep_in_memory=True,
        load_from_cache_file=False,
        desc="tokenize",
    )

"""Rows into token ids, the way every family of texts does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import Dataset

Batch = dict[str, list[Any]]


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

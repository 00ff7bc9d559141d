"""How many tokens a model may be given."""

from __future__ import annotations

import logging

from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def usable_length(wanted: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the wanted number of tokens, or the tokenizer's own limit if that is smaller."""
    limit = tokenizer.model_max_length
    if wanted > limit:
        logger.warning(
            "task.max_length=%d, but the tokenizer stops at %d; texts are cut at %d tokens",
            *(wanted, limit, limit),
        )
    return min(wanted, limit)

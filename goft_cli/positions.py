"""How many tokens a model has positions for; every room that cuts or refuses a text asks here."""

from __future__ import annotations

from typing import Any

from torch import nn


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

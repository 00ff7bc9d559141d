"""Tests whether a model's attention separates packed examples."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DataCollatorWithFlattening

from goft_cli.tasks.tokens import Model


@torch.no_grad()
def keeps_apart(model: Model, rows: int = 1) -> bool:
    """Test whether the logits of a packed example are independent of the previous example.

    LLaMA's are. Those of OPT, Falcon, BLOOM, MPT and Mamba are not, without any error. Flash
    attention separates packed examples only in batches of one row; `rows` is the batches' number.
    """
    pack = DataCollatorWithFlattening()
    last = []
    for neighbour in ([0, 1, 2], [2, 0, 1]):
        batch: dict[str, Any] = pack([{"input_ids": neighbour}, {"input_ids": [1, 2]}])
        names = ("input_ids", "position_ids")
        inputs = {name: batch[name].repeat(rows, 1).to(model.device) for name in names}
        try:
            last.append(model(**inputs, use_cache=False).logits[0, -2:].float())
        except TypeError:  # it takes no position ids
            return False
    return torch.allclose(*last, rtol=0, atol=torch.finfo(model.dtype).eps ** 0.5)

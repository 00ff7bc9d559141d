"""From lists of token ids to one batch of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    DataCollatorWithFlattening,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from goft_cli.tasks.base import Collator
from goft_cli.tasks.instruction.loss import IGNORED
from goft_cli.tasks.instruction.template import end_id


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return an id to fill up with.

    LLaMA 2 has none for that, and a new one would need a new row of the embedding. Any id does,
    because the attention mask hides it: it follows from the lengths, not from this id.
    """
    padding = cast("int | None", tokenizer.pad_token_id)
    return end_id(tokenizer) if padding is None else padding


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Stack rows of numbers into (rows, longest), filled up with `value` on the right."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


@dataclass(frozen=True)
class PadRight:
    """Fills up on the right, whatever side the tokenizer prefers: positions count from 0.

    Attributes:
        padding: id to fill up with.
    """

    padding: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each (rows, longest)."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(ids, self.padding),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }


def collator(tokenizer: PreTrainedTokenizerBase, *, packing: bool) -> Collator:
    """Return what batches the examples: padded, or laid end to end.

    Laid end to end, (1, tokens), they have position ids that start anew with each example. From
    these the model makes a mask that keeps examples apart, provided that it gets no attention mask
    and uses no cache; Trainer switches the cache off.
    """
    return DataCollatorWithFlattening() if packing else PadRight(padding_id(tokenizer))


@torch.no_grad()
def keeps_apart(model: PreTrainedModel) -> bool:
    """Try whether a packed example is blind to the one before it.

    LLaMA and its kin are. OPT, Falcon, BLOOM, MPT and Mamba are not, and would not say so.
    """
    pack = DataCollatorWithFlattening()
    last = []
    for neighbour in ([0, 1, 2], [2, 0, 1]):
        batch: dict[str, Any] = pack([{"input_ids": neighbour}, {"input_ids": [1, 2]}])
        inputs = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
        try:
            last.append(model(**inputs, use_cache=False).logits[0, -2:].float())
        except TypeError:  # it takes no position ids
            return False
    return torch.allclose(*last, rtol=0, atol=torch.finfo(model.dtype).eps ** 0.5)

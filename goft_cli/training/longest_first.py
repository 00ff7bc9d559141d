"""Model inputs by falling length and back to the order of their rows; large batches in parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import cast

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from goft_cli.tasks.base import Arrays, Inputs
from goft_cli.tasks.tokens import lengths


@dataclass(frozen=True)
class LongestFirst:
    """Model inputs by falling length: equal lengths share a batch, and memory runs out at once.

    Inputs whose length is not known, such as images, keep their order.
    """

    inputs: Inputs
    order: np.ndarray
    """(inputs,) the place that each had before."""

    @classmethod
    def of(cls, inputs: Inputs) -> LongestFirst:
        """Sort inputs; equal lengths keep their order, so that it is always the same."""
        lengths = lengths_of(inputs)
        if lengths is None:
            return cls(inputs, np.arange(len(cast(Sized, inputs))))
        order = np.argsort(-lengths, kind="stable")
        return cls(taken(inputs, order), order)

    def restore(self, outputs: Arrays) -> Arrays:
        """Bring the outputs of the sorted inputs back into the order that these had before."""
        places = np.argsort(self.order)
        return at_places(outputs, places)

    def sample(self, batch_size: int, most: int) -> np.ndarray:
        """Return the places, rising, that some inputs had before: all, or about `most` if fewer.

        Those are whole batches, spread evenly from the first to the last, and one at least. Sorted
        again, the inputs make the same batches, and so give the same bits.
        """
        total = len(self.order)
        if total <= most:
            return np.arange(total)
        count = math.ceil(total / batch_size)
        chosen = np.linspace(0, count - 1, max(most // batch_size, 1)).round().astype(int)
        firsts = np.unique(chosen) * batch_size
        return np.sort(np.concatenate([self.order[at : at + batch_size] for at in firsts]))


def lengths_of(inputs: Inputs) -> np.ndarray | None:
    """Return the (inputs,) numbers of tokens, or None where inputs are no tokens."""
    if not isinstance(inputs, datasets.Dataset) or "input_ids" not in inputs.column_names:
        return None
    return lengths(inputs)


def taken(inputs: Inputs, places: np.ndarray) -> Inputs:
    """Return the inputs at some places, in their order."""
    if isinstance(inputs, datasets.Dataset):
        return inputs.select(places)
    return Subset(inputs, places.tolist())


def parts_of(batch: Mapping[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """Cut a batch into parts of at most `most` tokens, padding included, and one row at least.

    The longest rows come first, and each part is as wide as its first row. Padding on the left
    stays, for models count positions from the first column.
    """
    mask = batch.get("attention_mask")
    if mask is None or mask.dim() != 2 or mask.numel() <= most:
        return [dict(batch)]
    rows, width = mask.shape
    ends = (mask != 0).long().mul(torch.arange(1, width + 1, device=mask.device)).amax(dim=1)
    order = ends.argsort(descending=True, stable=True)
    parts, first = [], 0
    while first < rows:
        wide = max(1, int(ends[order[first]]))
        chosen = order[first : first + max(1, most // wide)]
        first += len(chosen)
        parts.append({name: narrowed(one[chosen], width, wide) for name, one in batch.items()})
    return parts


def narrowed(rows: Tensor, width: int, wide: int) -> Tensor:
    """Leave out the last columns of what has one for each token."""
    return rows[:, :wide] if rows.dim() > 1 and rows.shape[1] == width else rows


def at_places(outputs: Arrays, places: np.ndarray) -> Arrays:
    """Return the outputs at some places, in their order."""
    if isinstance(outputs, tuple):
        return tuple(values[places] for values in outputs)
    return outputs[places]

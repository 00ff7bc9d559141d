"""Orders model inputs by length, for training and evaluation; splits large batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import cast

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset
from transformers.trainer_pt_utils import LengthGroupedSampler

from goft_cli.tasks.base import Arrays, Inputs
from goft_cli.tasks.tokens import IGNORED, lengths


class ByLength(LengthGroupedSampler):
    """Groups rows of similar length; the order depends on seed, epoch and the size of an update.

    Trainer's own sampler draws the order from dropout's generator, whose state a resumed epoch has
    lost and other processes do not share.
    """

    def __init__(
        self, update: int, lengths: list[int], seed: int, epoch: Callable[[], int]
    ) -> None:
        self.order = torch.Generator()
        super().__init__(update, lengths=lengths, generator=self.order)
        self.seed, self.epoch = seed, epoch

    def __iter__(self) -> Iterator[int]:
        self.order.manual_seed(self.seed + self.epoch())
        return super().__iter__()


@dataclass(frozen=True)
class LongestFirst:
    """Model inputs by descending length, for little padding and an early out-of-memory error.

    Inputs without a length, such as images, keep their order.
    """

    inputs: Inputs
    order: np.ndarray
    """(inputs,) the original index of each input."""

    @classmethod
    def of(cls, inputs: Inputs) -> LongestFirst:
        """Sort inputs; the sort is stable."""
        lengths = lengths_of(inputs)
        if lengths is None:
            return cls(inputs, np.arange(len(cast(Sized, inputs))))
        order = np.argsort(-lengths, kind="stable")
        return cls(taken(inputs, order), order)

    def restore(self, outputs: Arrays) -> Arrays:
        """Return the outputs of the sorted inputs in the original order of the inputs."""
        places = np.argsort(self.order)
        return at_places(outputs, places)

    def sample(self, batch_size: int, most: int) -> np.ndarray:
        """Return the original indices of all inputs, or of about `most`, in ascending order.

        They form whole batches, at least one, evenly spaced from the first to the last. Sorted
        again, the inputs form the same batches, and so give the same bits.
        """
        total = len(self.order)
        if total <= most:
            return np.arange(total)
        count = math.ceil(total / batch_size)
        chosen = np.linspace(0, count - 1, max(most // batch_size, 1)).round().astype(int)
        firsts = np.unique(chosen) * batch_size
        return np.sort(np.concatenate([self.order[at : at + batch_size] for at in firsts]))


def lengths_of(inputs: Inputs) -> np.ndarray | None:
    """Return the (inputs,) numbers of tokens; None for inputs that are not tokens."""
    if not isinstance(inputs, datasets.Dataset) or "input_ids" not in inputs.column_names:
        return None
    return lengths(inputs)


def taken(inputs: Inputs, places: np.ndarray) -> Inputs:
    """Return the inputs at these indices."""
    if isinstance(inputs, datasets.Dataset):
        return inputs.select(places)
    return Subset(inputs, places.tolist())


def parts_of(batch: Mapping[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """Split a batch into parts of at most `most` tokens, padding included, but at least one row.

    The longest rows come first, and each part is as wide as its first row. Left padding is kept,
    because models count positions from the first column. A packed batch has no mask (rows, width):
    its rows have no padding.
    """
    ids, mask = batch.get("input_ids"), batch.get("attention_mask")
    if ids is None or ids.numel() <= most:
        return [dict(batch)]
    rows, width = ids.shape
    masked = mask is not None and mask.shape == ids.shape
    used = mask != 0 if masked else torch.ones_like(ids)
    ends = used.long().mul(torch.arange(1, width + 1, device=ids.device)).amax(dim=1)
    order = ends.argsort(descending=True, stable=True)
    parts, first = [], 0
    while first < rows:
        wide = max(1, int(ends[order[first]]))
        chosen = order[first : first + max(1, most // wide)]
        first += len(chosen)
        parts.append({name: narrowed(one[chosen], width, wide) for name, one in batch.items()})
    # a part without a scored token has no loss, as long as another one has
    return [part for part in parts if weight_of(part)] or [dict(batch)]


def narrowed(rows: Tensor, width: int, wide: int) -> Tensor:
    """Cut a tensor with one column for each token to `wide` columns.

    Targets that are not integers belong to the row, even if there are as many as tokens.
    """
    cut = rows.dim() > 1 and rows.shape[1] == width and not rows.is_floating_point()
    return rows[:, :wide].contiguous() if cut else rows  # models flatten labels with view


def weight_of(part: Mapping[str, Tensor]) -> int:
    """Return the number of values over which the loss of a part of a batch is a mean.

    They are the scored tokens if each token has a label, and else the rows.
    """
    ids, labels = part.get("input_ids"), part.get("labels")
    if ids is None or labels is None or labels.is_floating_point() or labels.shape != ids.shape:
        return len(next(iter(part.values())))
    return int((labels != IGNORED).sum())


def at_places(outputs: Arrays, places: np.ndarray) -> Arrays:
    """Return the outputs at these indices."""
    if isinstance(outputs, tuple):
        return tuple(values[places] for values in outputs)
    return outputs[places]

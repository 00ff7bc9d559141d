"""Model inputs by falling length, and the way back to the order of their rows."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass
from typing import cast

import datasets
import numpy as np
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


def at_places(outputs: Arrays, places: np.ndarray) -> Arrays:
    """Return the outputs at some places, in their order."""
    if isinstance(outputs, tuple):
        return tuple(values[places] for values in outputs)
    return outputs[places]

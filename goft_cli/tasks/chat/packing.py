"""Chats packed into rows of one length: best-fit decreasing, each chat whole."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable

from goft_cli.tasks.tokens import lengths


def best_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Distribute sizes over bins: the largest first, each into the bin with the least room left.

    Returns the sorted indices of each bin's sizes. It needs at most 11/9 of the smallest possible
    number of bins, plus 6/9 (Dosa 2007).
    """
    room: list[tuple[int, int]] = []  # (room left, bin), rising
    bins: list[list[int]] = []
    for place in sorted(range(len(sizes)), key=lambda one: (-sizes[one], one)):
        size = sizes[place]
        found = bisect_left(room, (size, 0))
        if found == len(room):
            bins.append([])
            left, number = capacity, len(bins) - 1
        else:
            left, number = room.pop(found)
        bins[number].append(place)
        if left > size:
            insort(room, (left - size, number))
    return [sorted(places) for places in bins]


def pack(inputs: Dataset, capacity: int) -> Dataset:
    """Concatenate whole examples to rows of up to `capacity` tokens.

    The result also has `position_ids`, which restart at 0 with each example: by them the model
    separates the examples, if it gets no attention mask.
    """
    sizes = lengths(inputs)
    bins = best_fit(sizes.tolist(), capacity)
    order = [place for places in bins for place in places]
    table = cast(Any, inputs.select(order).with_format("arrow")[:])
    ends = np.cumsum([0, *(int(sizes[places].sum()) for places in bins)])
    positions = np.concatenate([np.arange(size) for size in sizes[order]])
    flat = {name: table[name].combine_chunks().flatten() for name in ("input_ids", "labels")}
    columns = {
        name: pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), values)
        for name, values in {**flat, "position_ids": pa.array(positions)}.items()
    }
    return Dataset(InMemoryTable(pa.table(columns)))

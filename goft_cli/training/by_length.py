"""The order of training rows in which those of like length come together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class ByLength(LengthGroupedSampler):
    """Rows of like length come together; seed and epoch decide the order, and an update's size.

    Trainer's own draws the order from the generator of dropout, whose state a resumed epoch has
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

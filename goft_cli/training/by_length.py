"""A sampler that groups training rows by length."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


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

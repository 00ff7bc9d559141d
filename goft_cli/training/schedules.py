"""Learning-rate schedules that transformers does not have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

FACT_START = 1e-6
FACT_FLOOR = 1e-5


class EpochRate(Protocol):
    """The learning rate of one epoch."""

    def __call__(self, done: int, *, peak: float, warmup: float, epochs: float) -> float:
        """Return it, given the epochs done before and two lengths in epochs."""
        ...


def fact_cosine(done: int, *, peak: float, warmup: float, epochs: float) -> float:
    """Return the learning rate of one epoch under FacT's schedule for VTAB-1K.

    A line from 1e-6 towards `peak` over the warm-up, then a cosine down to 1e-5. Two habits of the
    original are kept (PETL-ViT's FacT/fact_tk.py on timm's CosineLRScheduler): it steps after each
    epoch with the number of that epoch, so the first two epochs both train at 1e-6; and the cosine
    counts the epochs of the warm-up too, so `peak` itself is never reached.

    Args:
        done: epochs before this one.
        peak: the learning rate that the configuration states.
        warmup: epochs of the warm-up.
        epochs: epochs in all.
    """
    last = max(done - 1, 0)
    if last < warmup:
        return FACT_START + last * (peak - FACT_START) / warmup
    return FACT_FLOOR + (peak - FACT_FLOOR) * (1 + math.cos(math.pi * last / epochs)) / 2


EPOCH_RATES: Mapping[str, EpochRate] = {"fact_cosine": fact_cosine}
"""The schedules by `trainer.lr_scheduler_type`."""


def by_epoch(
    rate: EpochRate, optimizer: Optimizer, *, updates: int, warmup: int, epochs: float
) -> LambdaLR:
    """Hold the learning rate of each epoch through all of its updates.

    Args:
        rate: the schedule.
        optimizer: its learning rate is the schedule's peak.
        updates: of the whole training.
        warmup: updates of the warm-up.
        epochs: of the whole training.
    """
    peak = optimizer.param_groups[0]["lr"]
    per_epoch = math.ceil(updates / epochs)
    lengths = {"warmup": warmup / per_epoch, "epochs": updates / per_epoch}
    return LambdaLR(optimizer, lambda done: rate(done // per_epoch, peak=peak, **lengths) / peak)

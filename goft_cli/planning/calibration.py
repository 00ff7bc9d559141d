"""Time of a run, from some updates on a model of the shape whose weights are random."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from goft_cli.config import EvalStrategy, TrainConfig
from goft_cli.planning.tracing import autocast
from goft_cli.studies.budget import attached
from goft_cli.tuner.penalty import total_penalty

WARM, TIMED = 1, 3
"""Times before the clock counts, and those of which the median counts."""


@dataclass(frozen=True)
class Timing:
    """Seconds on this machine.

    Attributes:
        update: of one update in one process.
        scored_row: of one row of an evaluation.
    """

    update: float
    scored_row: float


def calibrate(cfg: TrainConfig, batch: Mapping[str, Tensor], device: str) -> Timing:
    """Train for some updates, score, and take the times; what reading the data costs is left out.

    Args:
        cfg: model, adapter, precision, accumulation.
        batch: the largest of the run, so that the times are rather too long.
        device: "cpu" or "cuda".
    """
    model = attached(cfg, cfg.adapter, device).train()
    if cfg.trainer.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}

    def update() -> None:
        for _ in range(cfg.trainer.gradient_accumulation_steps):
            with autocast(cfg.trainer, device):
                loss, penalty = model(**inputs).loss, total_penalty(model)
            (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def score() -> None:
        with autocast(cfg.trainer, device):
            model(**inputs)

    per_update = median_seconds(update, device)
    model.eval()
    rows = len(next(iter(inputs.values())))
    return Timing(per_update, median_seconds(score, device) / rows)


def median_seconds(work: Callable[[], None], device: str) -> float:
    """Take the time of something that is done more than once."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return statistics.median([once() for _ in range(WARM + TIMED)][WARM:])


def evaluations(cfg: TrainConfig, updates: int, updates_per_epoch: int) -> int:
    """Return how often the training is interrupted to score the evaluation split."""
    if not cfg.task.eval_splits:
        return 0
    if cfg.trainer.eval_strategy is EvalStrategy.epoch:
        return math.ceil(updates / updates_per_epoch)
    every = cfg.trainer.eval_steps or 1
    return updates // (round(every) if every >= 1 else max(1, math.ceil(every * updates)))

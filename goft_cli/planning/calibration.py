"""Time per update, from some on a model of the shape whose weights are random."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from goft_cli.comparison.budget import attached
from goft_cli.config import TrainConfig
from goft_cli.penalty import total_penalty
from goft_cli.planning.tracing import autocast

WARM, TIMED = 1, 3
"""Updates before the clock runs, and those of which the median counts."""


def seconds_per_update(cfg: TrainConfig, batch: Mapping[str, Tensor], device: str) -> float:
    """Train for some updates and take the time; evaluations and the data's own cost not included.

    Args:
        cfg: model, adapter, precision, accumulation.
        batch: the largest of the run, so that the time is rather too long.
        device: "cpu" or "cuda".
    """
    model = attached(cfg, cfg.adapter, device).train()
    if cfg.trainer.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}

    def update() -> float:
        start = time.perf_counter()
        for _ in range(cfg.trainer.gradient_accumulation_steps):
            with autocast(cfg.trainer, device):
                loss, penalty = model(**inputs).loss, total_penalty(model)
            (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return statistics.median([update() for _ in range(WARM + TIMED)][WARM:])

"""Time and memory of a run's updates, measured on models of few blocks and counted up to all."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from multiprocessing import get_context

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from goft_cli.config import TrainConfig
from goft_cli.run.manifest import peak_memory_bytes
from goft_cli.system.errors import GoftError
from goft_cli.system.screen import quiet_libraries
from goft_cli.training.longest_first import parts_of
from goft_cli.verbs.plan.layers import attached, counted
from goft_cli.verbs.plan.memory import autocast, loss_of

WARM, TIMED = 1, 3
"""Updates before the clock starts, and timed updates, whose median is taken."""
FEW, MORE = 1, 3
"""Blocks of the two models that are measured in place of a deeper one."""


@dataclass(frozen=True)
class Measured:
    """Updates and evaluations on this machine.

    Attributes:
        update: seconds of one update in one process.
        scored_row: seconds for one row of an evaluation.
        grown: bytes that the updates added to a process that held the model; 0 on a GPU, where
            the forecast counts the tensors.
    """

    update: float
    scored_row: float
    grown: int = 0

    def of_depth(self, depth: int, more: Measured) -> Measured:
        """Return the figures of `depth` blocks; these are of `FEW`, those of `more` of `MORE`."""
        per_block = [
            max(0, b - a) / (MORE - FEW) for a, b in zip(astuple(self), astuple(more), strict=True)
        ]
        update, scored_row, grown = (
            a + (depth - FEW) * each for a, each in zip(astuple(self), per_block, strict=True)
        )
        return Measured(update, scored_row, round(grown))


def calibrate(
    cfg: TrainConfig, batch: Mapping[str, Tensor], device: str, depth: int | None
) -> Measured | None:
    """Train models of few blocks with random weights, and count up; no data is read.

    `depth` is the number of the model's blocks. The whole model is measured if it has few of them,
    or if they are not alike. Return None if the system ended the process that measured, as it does
    when memory runs out.
    """
    try:
        if depth is None or depth <= MORE or not are_alike(cfg, depth):
            return measure_apart(cfg, batch, device)
        few, more = (measure_apart(cfg, batch, device, blocks) for blocks in (FEW, MORE))
        return few.of_depth(depth, more)
    except BrokenProcessPool:
        return None


def depth_of(model: PreTrainedModel) -> int | None:
    """Return the number of a model's blocks; None where its configuration does not say it."""
    return getattr(model.config, "num_hidden_layers", None)


def are_alike(cfg: TrainConfig, depth: int) -> bool:
    """Tell whether all blocks but the first have as many weights, and train as many of them."""
    try:
        models = [attached(cfg, cfg.adapter, blocks=blocks) for blocks in (FEW, MORE, depth)]
    except GoftError:  # a pattern names a block that the small models lack
        return False
    counts = [counted(cfg, model) for model in models]
    return all(
        (whole - few) * (MORE - FEW) == (more - few) * (depth - FEW)
        for few, more, whole in (
            [one.total for one in counts],
            [one.adapter for one in counts],
        )
    )


def measure_apart(
    cfg: TrainConfig, batch: Mapping[str, Tensor], device: str, blocks: int | None = None
) -> Measured:
    """Call `measure`; on a CPU in a new process.

    This process would use memory again that it has freed, so it would grow too little. A GPU may be
    reserved for one process.
    """
    if device != "cpu":
        return measure(cfg, batch, device, blocks)
    # the new process imports libraries that log warnings before `quiet_libraries` is called
    quiet = {"initializer": logging.disable, "initargs": (logging.WARNING,)}
    with ProcessPoolExecutor(1, get_context("spawn"), **quiet) as pool:
        return pool.submit(measure, cfg, batch, device, blocks).result()


@quiet_libraries()
def measure(
    cfg: TrainConfig, batch: Mapping[str, Tensor], device: str, blocks: int | None = None
) -> Measured:
    """Train for some updates and score; with `blocks`, a model of the first blocks only.

    The batch is the largest of the run, so the times are upper limits.
    """
    model = attached(cfg, cfg.adapter, device, blocks).train()
    if cfg.trainer.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}
    most = cfg.trainer.max_tokens_per_batch
    parts = parts_of(inputs, most) if most else [inputs]
    before = psutil.Process().memory_info().rss

    def update() -> None:
        for part in parts * cfg.trainer.gradient_accumulation_steps:
            loss_of(model, part, cfg.trainer, device).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def score() -> None:
        with autocast(cfg.trainer, device):
            model(**inputs)

    per_update = median_seconds(update, device)
    grown = max(0, peak_memory_bytes() - before) if device == "cpu" else 0
    model.eval()
    rows = len(next(iter(inputs.values())))
    return Measured(per_update, median_seconds(score, device) / rows, grown)


def median_seconds(work: Callable[[], None], device: str) -> float:
    """Return how long `work` takes: the median of `TIMED` runs."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return statistics.median([once() for _ in range(WARM + TIMED)][WARM:])

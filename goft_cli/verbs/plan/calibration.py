"""Time and memory of a run's updates, measured on models of few blocks and counted up to all."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from goft_cli.config import TrainConfig
from goft_cli.run.manifest import peak_memory_bytes
from goft_cli.system.errors import GoftError
from goft_cli.system.screen import quiet_libraries
from goft_cli.tasks.base import Tensors
from goft_cli.tasks.families import build_task
from goft_cli.training.by_length import parts_of
from goft_cli.verbs.plan.layers import attached, counted
from goft_cli.verbs.plan.steps import Batches, as_trained, evaluate, loss_of

WARM, TIMED = 1, 3
"""Updates before the clock starts, and timed updates, whose median is taken."""
FEW, MORE = 1, 6
"""Blocks of the two models that are measured in place of a deeper one."""


@dataclass(frozen=True)
class Measured:
    """Updates and evaluations on this machine.

    Attributes:
        update: seconds of one update in one process.
        scored_row: seconds for one row of an evaluation.
        grown: bytes that updates added at most to a process that held the model; 0 on a GPU, where
            the forecast counts the tensors.
        kept: bytes of them that were left after the updates.
        scored: bytes that an evaluation after the updates added at most to those left.
    """

    update: float
    scored_row: float
    grown: int = 0
    kept: int = 0
    scored: int = 0

    @property
    def growth(self) -> tuple[int, int, int]:
        """Growth of the process by updates, between them and an evaluation, and by that."""
        return self.grown, self.kept, self.kept + self.scored

    def of_depth(self, depth: int, more: Measured) -> Measured:
        """Return the figures of `depth` blocks; these are of `FEW`, those of `more` of `MORE`.

        What an evaluation adds is its logits and other large tensors, whatever the depth.
        """

        def counted_up(few: float, more: float) -> float:
            return few + (depth - FEW) * max(0, more - few) / (MORE - FEW)

        return Measured(
            counted_up(self.update, more.update),
            counted_up(self.scored_row, more.scored_row),
            round(counted_up(self.grown, more.grown)),
            round(counted_up(self.kept, more.kept)),
            max(self.scored, more.scored),
        )


def calibrate(
    cfg: TrainConfig, batches: Batches, device: str, depth: int | None
) -> Measured | None:
    """Train models of few blocks with random weights, and count up; no data is read.

    `depth` is the number of the model's blocks. The whole model is measured if it has few of them,
    or if they are not alike. Return None if the system ended the process that measured, as it does
    when memory runs out.
    """
    try:
        if depth is None or depth <= MORE or not are_alike(cfg, depth):
            return measure_apart(cfg, batches, device)
        few, more = (measure_apart(cfg, batches, device, blocks) for blocks in (FEW, MORE))
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
    cfg: TrainConfig, batches: Batches, device: str, blocks: int | None = None
) -> Measured:
    """Call `measure`; on a CPU in a new process.

    This process would use memory again that it has freed, so it would grow too little. A GPU may be
    reserved for one process.
    """
    if device != "cpu":
        return measure(cfg, batches, device, blocks)
    # the new process imports libraries that log warnings before `quiet_libraries` is called
    quiet = {"initializer": logging.disable, "initargs": (logging.WARNING,)}
    with ProcessPoolExecutor(1, get_context("spawn"), **quiet) as pool:
        return pool.submit(measure, cfg, batches, device, blocks).result()


@quiet_libraries()
def measure(cfg: TrainConfig, batches: Batches, device: str, blocks: int | None = None) -> Measured:
    """Train for some updates and score; with `blocks`, a model of the first blocks only.

    The batches are the largest of the run, so the times are upper limits.
    """
    model = attached(cfg, cfg.adapter, device, blocks)
    as_trained(model, cfg.trainer)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    trained, scored = (on(device, batch) for batch in (batches.trained, batches.scored))
    most = cfg.trainer.max_tokens_per_batch
    parts = parts_of(trained, most) if most else [trained]
    task = build_task(cfg.task)
    before = resident_bytes()

    def update() -> None:
        for part in parts * cfg.trainer.gradient_accumulation_steps:
            loss_of(model, part, cfg.trainer, device).backward()
        optimizer.step()
        optimizer.zero_grad()

    per_update = median_seconds(update, device)
    kept, updated = resident_bytes(), peak_memory_bytes()
    found = [kept]

    def reduce(outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensors:
        reduced = task.reduce(outputs, batch)
        found.append(resident_bytes())
        return reduced

    model.eval()
    per_batch = median_seconds(lambda: evaluate(model, scored, cfg.trainer, device, reduce), device)
    peak = peak_memory_bytes()
    evaluated = peak if peak > updated else max(found)  # a peak that is not higher hides the other
    rows = len(next(iter(scored.values())))
    growth = (updated - before, kept - before, evaluated - kept) if device == "cpu" else ()
    return Measured(per_update, per_batch / rows, *(max(0, one) for one in growth))


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return psutil.Process().memory_info().rss


def on(device: str, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move a batch to a device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def median_seconds(work: Callable[[], None], device: str) -> float:
    """Return how long `work` takes: the median of `TIMED` runs."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return statistics.median([once() for _ in range(WARM + TIMED)][WARM:])

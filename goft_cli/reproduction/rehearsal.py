"""A recipe with model and data swapped for tiny ones: the whole chain, offline, in seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from goft_cli.config import TaskConfig, TrainConfig, VicunaConfig
from goft_cli.reproduction.judge import agree, serving
from goft_cli.reproduction.stand_ins import write_stand_in
from goft_cli.studies.recipes import Cell

ROOT = Path("outputs/rehearsal")
# Two updates, for AdaLoRA lowers its ranks in between; what a recipe says of columns, heads and
# metrics stays.
SHORT = (
    "trainer.max_steps=2",
    "trainer.per_device_train_batch_size=2",
    "trainer.gradient_accumulation_steps=1",
    "trainer.warmup_steps=0",
    "trainer.use_cpu=true",
    "overwrite=true",
)


def rehearsal_words(cell: Cell, seed: int) -> list[str]:
    """Return what a rehearsal says after the recipe's own words."""
    swapped = [f"model={cell.recipe.stand_in}", *cell.recipe.rehearsal]
    return [*swapped, *SHORT, f"output_dir={ROOT / cell.name / f'seed{seed}'}"]


@contextmanager
def stand_ins(cfg: TrainConfig) -> Iterator[TrainConfig]:
    """Yield the same run on tiny data, which is there for as long as the block lasts."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        benchmark = cfg.benchmark and with_stand_in(cfg.benchmark, data / "benchmark")
        if isinstance(benchmark, VicunaConfig):
            judge = replace(benchmark.judge, base_url=stack.enter_context(serving(agree)))
            benchmark = replace(benchmark, judge=judge)
        yield replace(cfg, task=with_stand_in(cfg.task, data / "task"), benchmark=benchmark)


def with_stand_in(task: TaskConfig, folder: Path) -> TaskConfig:
    """Write tiny data, and return the task that reads it."""
    write_stand_in(task, folder)
    return replace(task, data_dir=str(folder))

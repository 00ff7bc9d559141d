"""What `retain=` costs: forward passes of rows, and how many evaluations these are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from goft_cli.config import MMLUConfig, TaskConfig, TrainConfig
from goft_cli.config.retain import BENCHMARK, CKA, PROBE, STS, TEXT, RetainSpec, Wanted
from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout
from goft_cli.run.forgetting.features import MOST_ROWS
from goft_cli.run.forgetting.text import PROSE, WINDOW
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.families import build_task
from goft_cli.verbs.plan.batches import row_count, rows_at_hand

LETTERS = 4
"""Of an English text in one token, about."""


def costs(cfg: TrainConfig, data: TaskData | None, wanted: RetainSpec) -> list[str]:
    """Say what each measure runs, and what all of them take, in evaluations of the run.

    `data` is the run's own, where it is at hand.
    """
    sizes = [row_count(cfg, data, name)[0] for name in cfg.task.eval_splits]
    evaluation = sum(size or 0 for size in sizes)
    lines, once, again = [], 0, 0
    for one in wanted.wanted:
        parts = list(passes(cfg, data, one, wanted.tasks.get(one)))
        shown = [f"{'unknown' if rows is None else f'{rows:,}'} {what}" for what, rows, *_ in parts]
        lines.append(f"retain={one}: {' and '.join(shown)}")
        once += sum(base * (rows or 0) for _, rows, base, _ in parts)
        again += sum(adapted * (rows or 0) for *_, rows, _, adapted in parts)
    total = (
        f"retain: {once:,} forward passes of the base model once, {again:,} for each measurement"
    )
    if evaluation:
        shares = once / evaluation, again / evaluation
        total += ": {:.2g} and {:.2g} evaluations of the run".format(*shares)
    return [*lines, total]


Passes = tuple[str, int | None, int, int]
"""What is run, how many of it, passes of the base model once, passes for each measurement."""


def passes(
    cfg: TrainConfig, data: TaskData | None, wanted: Wanted, task: TaskConfig | None
) -> Iterator[Passes]:
    """Yield what a measure runs."""
    if wanted.kind == CKA:
        split = next(iter(cfg.task.eval_splits), cfg.task.train_split)
        yield f"rows of {split}", fewer(row_count(cfg, data, split)[0]), 1, 1
    elif wanted.kind == TEXT:
        size = (PROSE if wanted.of is None else Path(wanted.of).expanduser()).stat().st_size
        yield f"windows of {WINDOW} tokens or fewer", math.ceil(size / LETTERS / WINDOW), 1, 2
    elif wanted.kind == STS:
        rows = len(read_file(Path(str(wanted.of)).expanduser(), Layout()))
        yield "texts of pairs", 2 * rows, 1, 1
    elif wanted.kind == PROBE and task is not None:
        there = rows_at_hand(build_task(task))
        for split, adapted in ((task.train_split, 0), (task.headline_split, 1)):
            found = task.benchmark_sizes.get(split)
            rows = len(there.splits[split]) if there else found
            yield f"rows of {task.name}, {split}", fewer(rows), 1, adapted
    elif wanted.kind == BENCHMARK and task is not None:
        times = len(task.shots) if isinstance(task, MMLUConfig) else 1
        yield f"questions of {task.name}", task.benchmark_sizes.get("test"), times, times


def fewer(rows: int | None) -> int | None:
    """Return how many rows features are computed of."""
    return None if rows is None else min(rows, MOST_ROWS)

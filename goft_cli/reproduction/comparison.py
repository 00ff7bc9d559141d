"""Ours against the paper's: the difference, the seeds' own noise, and what forbids a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from goft_cli.config import EVERY, HEADLINE, MeasureConfig
from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import deviation, prediction_radius
from goft_cli.studies.recipes import Cell
from goft_cli.system.errors import GoftError

INSIDE, OUTSIDE, NOT_COMPARABLE = "inside", "outside", "not comparable"
REHEARSED = "a rehearsal"
RULE = (
    "inside: the paper's number, taken for one more run, lies in the 95 % prediction interval of "
    "our seeds, mean ± t · deviation · sqrt(1 + 1/n)"
)
# Where things are and how they are computed; any other word on the command line changes the run.
HARMLESS = {
    "model.path",
    "task.data_dir",
    "benchmark.data_dir",
    "benchmark.judge.base_url",
    "tracker",
    "trainer.use_cpu",
    "trainer.per_device_eval_batch_size",
    "trainer.dataloader_num_workers",
}


@dataclass(frozen=True)
class Comparison:
    """One number of the paper, and ours for every seed, all in the paper's unit.

    Attributes:
        cell: name of the method's recipe, such as `table1/cola/qgoft`.
        measure: name of the number.
        digits: decimals that the paper prints.
        ours: value by seed.
        paper: None where the paper prints no number.
        obstacle: why the two do not compare; None if they do.
    """

    cell: str
    measure: str
    digits: int
    ours: dict[int, float]
    paper: float | None
    obstacle: str | None

    @property
    def recipe(self) -> str:
        """Name of the recipe, such as `table1/cola`."""
        return self.cell.rpartition("/")[0]

    @property
    def method(self) -> str:
        """Name of the method within it."""
        return self.cell.rpartition("/")[2]

    @property
    def mean(self) -> float:
        """Ours, averaged over the seeds."""
        return statistics.mean(self.ours.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of one."""
        return deviation(list(self.ours.values()))

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.paper is None else self.mean - self.paper

    @property
    def verdict(self) -> str:
        """Inside or outside the seed noise, by `RULE`, or not comparable."""
        if self.obstacle is not None or self.difference is None:
            return NOT_COMPARABLE
        rounding = 0.5 * 10**-self.digits
        noise = prediction_radius(list(self.ours.values()))
        return INSIDE if abs(self.difference) <= noise + rounding else OUTSIDE


def compare(
    cell: Cell, runs: Sequence[RunRecord], words: Sequence[str], *, rehearsal: bool
) -> list[Comparison]:
    """Compare every measure of a recipe that has this method; `words` are the user's own."""
    return [
        Comparison(
            cell=cell.name,
            measure=runs[0].headline if label == HEADLINE else label,
            digits=measure.digits,
            ours={run.seed: value(run, measure) for run in runs},
            paper=measure.paper[cell.method],
            obstacle=REHEARSED if rehearsal else next(obstacles(cell, measure, runs, words), None),
        )
        for label, measure in cell.recipe.measures.items()
        if cell.method in measure.paper
    ]


def value(run: RunRecord, measure: MeasureConfig) -> float:
    """Return the number that a recipe compares, in the paper's unit."""
    found: Any = run.metrics
    for step in measure.key.split("."):
        if not isinstance(found, dict) or step not in found:
            raise GoftError(
                f"{run.folder.metrics}: there is no {measure.key}",
                "correct the recipe's key",
            )
        found = found[step]
    return measure.scale * found


def obstacles(
    cell: Cell, measure: MeasureConfig, runs: Sequence[RunRecord], words: Sequence[str]
) -> Iterator[str]:
    """Yield the reasons not to compare: the paper's, the recipe's, the user's, the runs'."""
    stated, cfg = cell.recipe.not_comparable, runs[0].cfg
    if measure.paper[cell.method] is None:
        yield "the paper prints no number"
    yield from (stated[name] for name in (cell.method, EVERY) if name in stated)
    changed = [word for word in words if word.partition("=")[0] not in HARMLESS]
    if changed:
        yield f"the command line changed the run: {' '.join(changed)}"
    if any(not is_published(run) for run in runs):
        yield "the data is not the published one"
    if cfg.adapter.recipe not in cfg.task.recipe.by_adapter:
        yield "no learning rate is published for this method and task; ours is a guess"
    if len(runs) < 2:
        yield "one seed shows no noise"


def is_published(run: RunRecord) -> bool:
    """Tell whether data and benchmark, where their sizes are known, are the published ones."""
    read = [(run.cfg.task, run.manifest["data"])]
    if run.cfg.benchmark:
        read.append((run.cfg.benchmark, run.manifest["benchmark"]))
    return all(data["is_the_benchmark"] for task, data in read if task.benchmark_sizes)

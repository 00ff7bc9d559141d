"""The tuning of a comparison: equally many learning rates for each adapter, chosen by trials.

Trials are ordinary runs of `goft train`, and finished ones are reused. No trial reads the
headline's split: see `tuning_split`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from goft_cli.config import CompareConfig, TaskConfig
from goft_cli.config.task import TUNING, TUNING_SHARE
from goft_cli.studies.grid import (
    MOST_ADDED,
    STEP,
    best_step,
    first_steps,
    rate_at,
    widened,
)
from goft_cli.system.tables import Table
from goft_cli.verbs.compare.runs import PlannedRun, compose_runs, without

RATE = "trainer.learning_rate"
SPLITS = ("task.eval_splits", "task.headline_split")
COLUMNS = (
    *("adapter", "step", "learning_rate", "seed", "split", "score", "chosen"),
    *("train_seconds", "folder"),
)


def tuning_split(task: TaskConfig) -> str:
    """Name the split to choose on, never the headline's split, which is read only at the end.

    It is the split that picks the checkpoint. If that is also the headline's, as GLUE's validation
    is, it is a share of the training rows on which the trials are not trained.
    """
    first, *_ = [*task.eval_splits, TUNING]
    return TUNING if first == task.headline_split else first


@dataclass(frozen=True)
class Tuned:
    """The trials of one adapter, all of them finished or failed.

    Attributes:
        words: overrides of its runs, before the tuning.
        recipe: the learning rate that these overrides give.
        runs: by step of the grid.
    """

    words: tuple[str, ...]
    recipe: float
    runs: Mapping[int, PlannedRun]

    @cached_property
    def scores(self) -> dict[int, float | None]:
        """By step, in the order of the rates; None of a trial that failed."""
        records = {step: self.runs[step].record for step in sorted(self.runs)}
        return {
            step: record.score if record.folder.finished else None
            for step, record in records.items()
        }

    @property
    def chosen(self) -> int:
        """The step of the best trial."""
        greater = next(iter(self.runs.values())).cfg.task.greater_is_better
        merits = self.scores.items()
        return best_step({k: v if greater or v is None else -v for k, v in merits})

    @property
    def rate(self) -> float:
        """The learning rate of the best trial."""
        return rate_at(self.recipe, self.chosen)

    @property
    def at_edge(self) -> bool:
        """Whether that is the lowest or the highest rate of the grid."""
        return self.chosen in {min(self.runs), max(self.runs)}

    @property
    def by_rate(self) -> dict[str, float | None]:
        """The scores by learning rate."""
        return {f"{rate_at(self.recipe, step):g}": score for step, score in self.scores.items()}

    @property
    def known(self) -> list[float]:
        """The scores of the trials that did not fail."""
        return [score for score in self.scores.values() if score is not None]


@dataclass
class Search:
    """The trials so far, with the same steps for each adapter.

    Attributes:
        words: overrides of the runs to compare, by adapter.
        recipes: the learning rate that these overrides give, by adapter.
    """

    cfg: CompareConfig
    words: Mapping[str, Sequence[str]]
    recipes: Mapping[str, float]
    steps: range = range(0)
    runs: dict[str, dict[int, PlannedRun]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rates each adapter tries at first."""
        return self.cfg.tune or 0

    @property
    def split(self) -> str:
        """Where trials are scored."""
        return tuning_split(self.cfg.task)

    @property
    def tuned(self) -> dict[str, Tuned]:
        """The trials by adapter, once they are finished."""
        return {
            name: Tuned(tuple(self.words[name]), self.recipes[name], runs)
            for name, runs in self.runs.items()
        }

    @property
    def may_add(self) -> int:
        """How many more runs the grids may ask for."""
        return (self.count + MOST_ADDED - len(self.steps)) * len(self.words)

    def next_runs(self) -> dict[str, list[PlannedRun]]:
        """Return the trials to finish before the next call; empty if no more are needed."""
        wider = first_steps(self.count)
        if self.runs:
            wider = widened(self.steps, [one.chosen for one in self.tuned.values()], self.count)
        new = [step for step in wider if step not in self.steps]
        added = {name: {step: self.trial(name, step) for step in new} for name in self.words}
        for name, runs in added.items():
            self.runs[name] = self.runs.get(name, {}) | runs
        self.steps = wider
        return {name: list(runs.values()) for name, runs in added.items()} if new else {}

    def trial(self, name: str, step: int) -> PlannedRun:
        """Compose a trial, which reads only its training rows and one more split."""
        words = without(self.run_words(name, step), [*SPLITS, "benchmark"])
        evaluated, headline = SPLITS
        words += [f"{evaluated}=[{self.split}]", f"{headline}={self.split}"]
        words += ["benchmark=none"] if self.cfg.benchmark else []
        (run,) = compose_runs(words, name, [self.cfg.tuning_seed])
        return run

    def run_words(self, name: str, step: int) -> list[str]:
        """Return the overrides of an adapter's runs with the rate of a step."""
        rate = rate_at(self.recipes[name], step)
        return [*without(self.words[name], [RATE]), f"{RATE}={rate!r}"]

    def final_words(self) -> dict[str, list[str]]:
        """Return the overrides of the runs to compare, by adapter."""
        return {name: self.run_words(name, one.chosen) for name, one in self.tuned.items()}


def notes(search: Search) -> list[str]:
    """Return notes on the tuning for the reader, one sentence each."""
    cfg, added = search.cfg, len(search.steps) - search.count
    rows = (
        f"a share of {TUNING_SHARE:.0%} of the training rows, on which the trials were not trained"
        if search.split == TUNING
        else f"the split {search.split}, which picks the checkpoint"
    )
    found = [
        f"Learning rates: {len(search.steps)} for each adapter, its recipe's and rates around it, "
        f"a factor of {STEP:.2f} apart, one run each with seed {cfg.tuning_seed}.",
        f"The chosen rate has the best {cfg.task.headline} on {rows}; no trial read the split "
        f"{cfg.task.headline_split}.",
    ]
    if added:
        found.append(
            f"Added for all adapters, as a best rate was at an edge: {added} of these rates."
        )
    edges = [name for name, one in search.tuned.items() if one.at_edge]
    if edges:
        found.append(
            f"After {MOST_ADDED} added rates the best one is still at an edge for "
            f"{', '.join(edges)}; a better one may lie beyond the grid."
        )
    return found


def spreadsheet(tuned: Mapping[str, Tuned]) -> Table:
    """Return one row per trial, by adapter and rate; no score where it failed."""
    lines = []
    for name, one in tuned.items():
        for step, score in one.scores.items():
            run = one.runs[step].record
            place = [run.cfg.trainer.learning_rate, run.seed, run.cfg.task.headline_split]
            seconds = None if score is None else run.train_seconds
            found = [score, step == one.chosen, seconds, run.folder.path]
            lines.append([name, step, *place, *found])
    return Table(COLUMNS, lines)

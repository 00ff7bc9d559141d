"""Finished runs side by side: statistics over seeds, and one row for each configuration."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goft_cli.run.configuration import settings
from goft_cli.run.record import RunRecord
from goft_cli.system.files import write_text
from goft_cli.system.tables import Table, spaced

CONFIDENCE = 0.95
BENCHMARK = "benchmark"
"""The column that is left out where no run was scored on a benchmark."""
COLUMNS = (
    *("task", "model", "adapter", "changed", "runs", "score", "best", BENCHMARK),
    *("parameters", "seconds"),
)
SHAREABLE = COLUMNS[:4]
"""Columns that go into the title where all rows agree."""
CSV_COLUMNS = (
    *("task", "model", "adapter", "seed", "headline", "value", "greater_is_better"),
    *("parameters", "train_seconds", "run", "changed"),
)


@dataclass(frozen=True)
class Difference:
    """Mean difference of paired runs, with the half width of its confidence interval.

    The half width is None for a single pair.
    """

    mean: float
    half_width: float | None
    pairs: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends."""
        if self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation (n - 1 below the root), None for a single value.

    It is not a number if one of the values is not finite.
    """
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Return text such as `0.523 ± 0.011`, and the mean alone of a single value."""
    spread = deviation(values)
    around = "" if spread is None else f" ± {spread:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f}{around}"


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Compare two methods on the seeds that both have.

    With d_i the difference on seed i, n seeds, m their mean and s their standard deviation
    (n - 1 below the root), the interval is Student's

        m +- t(1/2 + CONFIDENCE/2; n - 1) s / sqrt(n).

    It is valid for one comparison named beforehand, and assumes normally distributed d_i.
    Both are scores by seed; without a common seed a ValueError is raised.
    """
    differences = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    if not differences:
        raise ValueError(f"no seed in common: {sorted(ours)} and {sorted(theirs)}")
    mean, spread, pairs = statistics.mean(differences), deviation(differences), len(differences)
    if spread is None:
        return Difference(mean, None, pairs)
    return Difference(mean, student_t(CONFIDENCE, pairs - 1) * spread / math.sqrt(pairs), pairs)


def prediction_radius(values: Sequence[float]) -> float:
    """Return the radius in which the next normal draw lies with probability `CONFIDENCE`.

    Its centre is the mean of these two or more draws.
    """
    quantile = student_t(CONFIDENCE, len(values) - 1)
    return quantile * (deviation(values) or 0.0) * math.sqrt(1 + 1 / len(values))


def student_t(confidence: float, degrees: int) -> float:
    """Return the t of Student's distribution for which P(|T| < t) is `confidence`.

    Halves the interval of atan(t / sqrt(degrees)): the import of scipy takes longer.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        if within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def within(angle: float, degrees: int) -> float:
    """Return P(|T| < t) of Student's distribution for an angle of atan(t / sqrt(degrees)).

    It is a finite sum: Abramowitz and Stegun, 26.7.3 for odd and 26.7.4 for even degrees.
    """
    sine, cosine, odd = math.sin(angle), math.cos(angle), degrees % 2
    term, total = cosine if odd else 1.0, 0.0
    for step in range(degrees // 2):
        total += term
        term *= cosine**2 * (2 * step + 1 + odd) / (2 * step + 2 + odd)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def pareto_front(costs: Sequence[float], merits: Sequence[float]) -> list[int]:
    """Return the indices of the points that no other dominates, by rising cost.

    Less cost and more merit are better; of equal points the first counts.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -merits[index]))
    front: list[int] = []
    for index in order:
        if not front or merits[index] > merits[front[-1]]:
            front.append(index)
    return front


def told_apart(runs: Iterable[RunRecord]) -> dict[RunRecord, str]:
    """Name the settings that differ among the runs of each task, model and adapter."""
    families: dict[tuple[str, ...], dict[RunRecord, dict[str, Any]]] = defaultdict(dict)
    for run in runs:
        families[family(run)][run] = settings(run.cfg)
    changed: dict[RunRecord, str] = {}
    for stated in families.values():
        keys = {key for one in stated.values() for key in one} - {"seed"}
        differ = sorted(k for k in keys if len({repr(one.get(k)) for one in stated.values()}) > 1)
        for run, one in stated.items():
            changed[run] = " ".join(as_override(key, one.get(key)) for key in differ)
    return changed


def family(run: RunRecord) -> tuple[str, str, str]:
    """Return the columns that tables show of every run."""
    return run.task, run.model, run.adapter


def as_override(key: str, value: object) -> str:
    """Write a setting as an override, a long number rounded."""
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def leaderboard_rows(results: Iterable[RunRecord]) -> list[tuple[str, ...]]:
    """Return one row of cells per configuration: tasks by name, within a task the best first."""
    groups: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for run, changed in told_apart(results).items():
        groups[(*family(run), changed)].append(run)

    def order(group: tuple[tuple[str, ...], Sequence[RunRecord]]) -> tuple[str, float]:
        return group[0][0], -statistics.mean(run.merit for run in group[1])

    return [leaderboard_row(*group) for group in sorted(groups.items(), key=order)]


def leaderboard_row(named: Sequence[str], runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the cells of one configuration: mean, standard deviation and best over its runs."""
    values = [run.score for run in runs]
    return (
        *named,
        str(len(runs)),
        f"{runs[0].headline} {mean_and_deviation(values, 3)}",
        f"{max(runs, key=lambda run: run.merit).score:.3f}",
        ", ".join(
            f"{spaced(name)} {mean_and_deviation(found, 3)}"
            for name, found in benchmark_scores(runs).items()
        ),
        f"{runs[0].parameters:,}",
        f"{statistics.median(run.train_seconds for run in runs):.0f}",
    )


def benchmark_scores(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Return the scores on the benchmark by name, one for each run that has them."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, value in run.benchmark_scores.items():
            found[name].append(value)
    return found


def leaderboard_columns(results: Iterable[RunRecord]) -> dict[str, tuple[str, ...]]:
    """Return the cells by column."""
    every = zip(COLUMNS, zip(*leaderboard_rows(results), strict=True), strict=True)
    return {column: cells for column, cells in every if column != BENCHMARK or any(cells)}


def leaderboard_table(results: Iterable[RunRecord]) -> Table:
    """Return the table for the screen."""
    shared, kept = ["leaderboard"], {}
    for column, cells in leaderboard_columns(results).items():
        if column in SHAREABLE and len(set(cells)) == 1:
            shared.append(cells[0])
        else:
            kept[column] = cells
    title = "  ".join(filter(None, shared))
    return Table(list(kept), list(zip(*kept.values(), strict=True)), title, "f", centred=False)


def markdown(results: Iterable[RunRecord]) -> str:
    """Return the table for a document."""
    columns = leaderboard_columns(results)
    return Table(list(columns), list(zip(*columns.values(), strict=True))).markdown()


def write_csv(path: Path, results: Iterable[RunRecord]) -> None:
    """Write one line per run, tasks by name, within a task the best first.

    Scores on benchmarks have a column each, empty for a run without them.
    """
    found = told_apart(results)
    benchmarks, lines = [*benchmark_scores([*found])], []
    for run in sorted(found, key=lambda run: (run.task, -run.merit)):
        named = (*family(run), run.seed, run.headline, run.score, run.greater_is_better)
        costs = (run.parameters, run.train_seconds)
        scored = (run.benchmark_scores.get(name, "") for name in benchmarks)
        lines.append([*named, *costs, run.folder.path, found[run], *scored])
    write_text(path, Table([*CSV_COLUMNS, *benchmarks], lines).csv())

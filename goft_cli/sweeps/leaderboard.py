"""Finished runs side by side, best first: one row per configuration, over its seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from goft_cli.run.configuration import settings
from goft_cli.run.record import RunRecord
from goft_cli.studies.statistics import mean_and_deviation
from goft_cli.system.files import write_text
from goft_cli.system.tables import Table

COLUMNS = ("task", "model", "adapter", "changed", "runs", "score", "best", "parameters", "seconds")
SHAREABLE = COLUMNS[:4]
CSV_COLUMNS = (
    *("task", "model", "adapter", "seed", "headline", "value", "greater_is_better"),
    *("parameters", "train_seconds", "run", "changed"),
)


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
            changed[run] = " ".join(shown(key, one.get(key)) for key in differ)
    return changed


def family(run: RunRecord) -> tuple[str, str, str]:
    """Return what a table shows of every run."""
    return run.task, run.model, run.adapter


def shown(key: str, value: object) -> str:
    """Write a setting as it is typed, a long number rounded."""
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def rows(results: Iterable[RunRecord]) -> list[tuple[str, ...]]:
    """Return one row of cells per configuration: tasks by name, within a task the best first."""
    groups: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for run, changed in told_apart(results).items():
        groups[(*family(run), changed)].append(run)

    def order(group: tuple[tuple[str, ...], Sequence[RunRecord]]) -> tuple[str, float]:
        return group[0][0], -statistics.mean(run.merit for run in group[1])

    return [row(*group) for group in sorted(groups.items(), key=order)]


def row(named: Sequence[str], runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the cells of one configuration: mean, standard deviation and best over its runs."""
    values = [run.score for run in runs]
    return (
        *named,
        str(len(runs)),
        f"{runs[0].headline} {mean_and_deviation(values, 3)}",
        f"{max(runs, key=lambda run: run.merit).score:.3f}",
        f"{runs[0].parameters:,}",
        f"{statistics.median(run.train_seconds for run in runs):.0f}",
    )


def table(results: Iterable[RunRecord]) -> Table:
    """Lay the rows out for the screen; what all rows share stands in the title."""
    shared, kept = ["leaderboard"], {}
    for column, cells in zip(COLUMNS, zip(*rows(results), strict=True), strict=True):
        if column in SHAREABLE and len(set(cells)) == 1:
            shared.append(cells[0])
        else:
            kept[column] = cells
    title = "  ".join(filter(None, shared))
    return Table(list(kept), list(zip(*kept.values(), strict=True)), title, "f", centred=False)


def markdown(results: Iterable[RunRecord]) -> str:
    """Lay the rows out for a document."""
    return Table(COLUMNS, rows(results)).markdown()


def write_csv(path: Path, results: Iterable[RunRecord]) -> None:
    """Write one line per run, tasks by name, within a task the best first."""
    found = told_apart(results)
    lines = []
    for run in sorted(found, key=lambda run: (run.task, -run.merit)):
        named = (*family(run), run.seed, run.headline, run.score, run.greater_is_better)
        lines.append([*named, run.parameters, run.train_seconds, run.folder.path, found[run]])
    write_text(path, Table(CSV_COLUMNS, lines).csv())

"""Finished runs side by side, best first: one row per configuration, over its seeds."""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from goft_cli.runs.configuration import settings
from goft_cli.runs.files import write_text
from goft_cli.runs.record import RunRecord

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
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return (
        *named,
        str(len(runs)),
        f"{runs[0].headline} {statistics.mean(values):.3f}{spread}",
        f"{max(runs, key=lambda run: run.merit).score:.3f}",
        f"{runs[0].parameters:,}",
        f"{statistics.median(run.train_seconds for run in runs):.0f}",
    )


def table(results: Iterable[RunRecord]) -> Table:
    """Lay the rows out for the screen; what all rows share stands in the title."""
    names = ["leaderboard"]
    laid_out = Table(title_justify="left")
    columns = zip(COLUMNS, zip(*rows(results), strict=True), strict=True)
    kept = []
    for column, cells in columns:
        if column in SHAREABLE and len(set(cells)) == 1:
            names.append(cells[0])
        else:
            laid_out.add_column(column, overflow="fold")
            kept.append(cells)
    for line in zip(*kept, strict=True):
        laid_out.add_row(*line)
    laid_out.title = "  ".join(filter(None, names))
    return laid_out


def markdown(results: Iterable[RunRecord]) -> str:
    """Lay the rows out for a document."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(results)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_csv(path: Path, results: Iterable[RunRecord]) -> None:
    """Write one line per run, tasks by name, within a task the best first."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    found = told_apart(results)
    for run in sorted(found, key=lambda run: (run.task, -run.merit)):
        named = (*family(run), run.seed, run.headline, run.score, run.greater_is_better)
        writer.writerow([*named, run.parameters, run.train_seconds, run.folder.path, found[run]])
    write_text(path, content.getvalue())

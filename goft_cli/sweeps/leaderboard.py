"""Finished runs side by side, best first: one row per configuration, over its seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from goft_cli.runs.configuration import read_config, settings
from goft_cli.runs.files import read_json, write_text
from goft_cli.runs.run_folder import RunFolder
from goft_cli.studies.statistics import mean_and_deviation
from goft_cli.studies.tables import Table

COLUMNS = ("task", "model", "adapter", "changed", "runs", "score", "best", "parameters", "seconds")
SHAREABLE = COLUMNS[:4]


@dataclass(frozen=True)
class Result:
    """What a finished run says of itself."""

    task: str
    model: str
    adapter: str
    seed: int
    headline: str
    value: float
    greater_is_better: bool
    parameters: int
    train_seconds: float
    run: str
    settings: Mapping[str, Any]
    """Everything else that determines its numbers, by dotted key."""
    changed: str = ""
    """Settings that differ among the runs of this task, model and adapter."""

    @property
    def merit(self) -> float:
        """The headline, so that more is better."""
        return self.value if self.greater_is_better else -self.value

    @property
    def family(self) -> tuple[str, str, str]:
        """What a table shows of every run."""
        return self.task, self.model, self.adapter


def finished_runs(root: Path) -> list[RunFolder]:
    """Return every finished run below a folder."""
    return [RunFolder(path.parent) for path in sorted(root.rglob("metrics.json"))]


def read_results(folders: Iterable[RunFolder]) -> list[Result]:
    """Read finished runs, and tell apart what differs among them.

    Raises:
        GoftError: a file of theirs is damaged.
    """
    families: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in map(read_result, folders):
        families[result.family].append(result)
    return [told for runs in families.values() for told in told_apart(runs)]


def read_result(folder: RunFolder) -> Result:
    """Read one finished run.

    Raises:
        GoftError: its files are damaged.
    """
    metrics, cfg = read_json(folder.metrics), read_config(folder.config)
    return Result(
        task=metrics["task"],
        model=metrics["model"],
        adapter=metrics["adapter"],
        seed=metrics["seed"],
        headline=metrics["headline"]["name"],
        value=metrics["headline"]["value"],
        greater_is_better=cfg.task.greater_is_better,
        parameters=metrics["trainable_parameters"],
        train_seconds=metrics["train_seconds"],
        run=str(folder.path),
        settings={key: value for key, value in settings(cfg).items() if key != "seed"},
    )


def told_apart(runs: Sequence[Result]) -> list[Result]:
    """Name the settings that differ among runs."""
    keys = {key for run in runs for key in run.settings}
    differ = sorted(k for k in keys if len({repr(run.settings.get(k)) for run in runs}) > 1)
    named = [" ".join(shown(key, run.settings.get(key)) for key in differ) for run in runs]
    return [replace(run, changed=changed) for run, changed in zip(runs, named, strict=True)]


def shown(key: str, value: object) -> str:
    """Write a setting as it is typed, a long number rounded."""
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """Return one row of cells per configuration: tasks by name, within a task the best first."""
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[(*result.family, result.changed)].append(result)

    def order(runs: Sequence[Result]) -> tuple[str, float]:
        return runs[0].task, -statistics.mean(run.merit for run in runs)

    return [row(runs) for runs in sorted(groups.values(), key=order)]


def row(runs: Sequence[Result]) -> tuple[str, ...]:
    """Return the cells of one configuration: mean, standard deviation and best over its runs."""
    values = [run.value for run in runs]
    return (
        *runs[0].family,
        runs[0].changed,
        str(len(runs)),
        f"{runs[0].headline} {mean_and_deviation(values, 3)}",
        f"{max(runs, key=lambda run: run.merit).value:.3f}",
        f"{runs[0].parameters:,}",
        f"{statistics.median(run.train_seconds for run in runs):.0f}",
    )


def table(results: Iterable[Result]) -> Table:
    """Lay the rows out for the screen; what all rows share stands in the title."""
    shared, kept = ["leaderboard"], {}
    for column, cells in zip(COLUMNS, zip(*rows(results), strict=True), strict=True):
        if column in SHAREABLE and len(set(cells)) == 1:
            shared.append(cells[0])
        else:
            kept[column] = cells
    title = "  ".join(filter(None, shared))
    return Table(list(kept), list(zip(*kept.values(), strict=True)), title, "f", centred=False)


def markdown(results: Iterable[Result]) -> str:
    """Lay the rows out for a document."""
    return Table(COLUMNS, rows(results)).markdown()


def write_csv(path: Path, results: Iterable[Result]) -> None:
    """Write one line per run, tasks by name, within a task the best first."""
    columns = [entry.name for entry in fields(Result) if entry.name != "settings"]
    ordered = sorted(results, key=lambda result: (result.task, -result.merit))
    lines = [[getattr(result, name) for name in columns] for result in ordered]
    write_text(path, Table(columns, lines).csv())

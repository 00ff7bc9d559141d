"""What finished runs left in their folders, and the command that makes each again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goft_cli.command_line.recomposition import compose_train
from goft_cli.config import TrainConfig
from goft_cli.errors import GoftError
from goft_cli.naming import real_name
from goft_cli.runs.configuration import read_config, settings
from goft_cli.runs.files import read_json
from goft_cli.runs.run_folder import RunFolder


@dataclass(frozen=True)
class RunRecord:
    """One run, as its folder tells it."""

    folder: RunFolder
    cfg: TrainConfig
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]

    @property
    def label(self) -> str:
        """Adapter and run name."""
        return f"{self.cfg.adapter.name} {self.cfg.run_name}"

    @property
    def score(self) -> float:
        """The headline."""
        return self.metrics["headline"]["value"]

    def series(self, key: str) -> list[tuple[float, float]]:
        """Return (updates, value) wherever `key` was logged."""
        return [(row["step"], row[key]) for row in self.history if key in row]


def find_runs(places: str | Sequence[str]) -> list[RunRecord]:
    """Read every finished run at or below the places.

    Raises:
        GoftError: there is none, their files are damaged, or they are not of one task and model.
    """
    named = [places] if isinstance(places, str) else list(places)
    found = [read_run(folder) for place in named for folder in folders_below(place)]
    subjects = sorted({f"{run.cfg.task.name} with {real_name(run.cfg.model)}" for run in found})
    if len(subjects) > 1:
        raise GoftError(
            f"runs={places}: found runs of {', '.join(subjects)}",
            "a page is about one task and one model, so pass a folder such as outputs/TASK/MODEL",
        )
    return found


def folders_below(place: str) -> list[RunFolder]:
    """Return the run folders at or below a place, by path.

    Raises:
        GoftError: there is none.
    """
    root = Path(place).expanduser()
    found = [RunFolder(file.parent) for file in sorted(root.rglob("metrics.json"))]
    if not found:
        raise GoftError(
            f"runs={place}: no finished run there or below",
            "pass a folder such as outputs/TASK/MODEL/ADAPTER/RUN, or outputs for all",
        )
    return found


def read_run(folder: RunFolder) -> RunRecord:
    """Read one run; an early one may lack its history.

    Raises:
        GoftError: its files are damaged.
    """
    history = read_json(folder.history)["logged"] if folder.history.is_file() else []
    return RunRecord(
        folder,
        read_config(folder.config),
        read_json(folder.metrics),
        read_json(folder.manifest),
        history,
    )


def command(cfg: TrainConfig) -> str | None:
    """Return the `goft train` that composes to the run's configuration.

    Its benchmark is left out, for it changes nothing in the training. None where the run's task,
    model or adapter is not among the choices: then `config.yaml` alone has it.
    """
    words = [f"adapter={cfg.adapter.name}", f"seed={cfg.seed}"]
    words += [f"task={cfg.task.name}", f"model={cfg.model.name}"]
    try:
        composed = settings(compose_train(words))
    except GoftError:
        return None
    changed = [
        f"{key}={spelled(value)}"
        for key, value in settings(cfg).items()
        if composed.get(key) != value and not key.startswith("benchmark")
    ]
    return shlex.join(["goft", "train", *words, *changed])


def spelled(value: object) -> str:
    """Write a value as it is typed behind a key."""
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def one_per_adapter(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the first run of each adapter."""
    first: dict[str, RunRecord] = {}
    for run in runs:
        first.setdefault(run.cfg.adapter.name, run)
    return list(first.values())

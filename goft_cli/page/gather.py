"""What finished runs left in their folders, and the command that makes each again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import TrainConfig
from goft_cli.config.model import real_name
from goft_cli.run.configuration import settings
from goft_cli.run.record import RunRecord, find_runs
from goft_cli.system.errors import GoftError


def of_one_subject(places: str | Sequence[str]) -> list[RunRecord]:
    """Find the finished runs at or below the places, and read them; they share task and model."""
    named = [places] if isinstance(places, str) else list(places)
    found = [run for place in named for run in find_runs(place)]
    for run in found:  # a damaged file is refused before anything is measured
        _ = run.history, run.cfg, run.metrics, run.manifest
    subjects = sorted({f"{run.task} with {real_name(run.cfg.model)}" for run in found})
    if len(subjects) > 1:
        raise GoftError(
            f"runs={places}: found runs of {', '.join(subjects)}",
            "a page is about one task and one model, so pass a folder such as outputs/TASK/MODEL",
        )
    return found


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
        first.setdefault(run.adapter, run)
    return list(first.values())

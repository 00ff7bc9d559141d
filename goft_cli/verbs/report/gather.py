"""Finished runs of one task and model: their commands, and measurements of their layers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from goft_cli.compose.recomposition import compose_train, model_words
from goft_cli.compose.words import spelled
from goft_cli.config import TrainConfig
from goft_cli.run import layers, provenance
from goft_cli.run.configuration import settings
from goft_cli.run.layers import LayerReport
from goft_cli.run.record import RunRecord
from goft_cli.system.errors import GoftError

if TYPE_CHECKING:
    from goft_cli.run.trained import TrainedRun


def train_command(cfg: TrainConfig) -> str | None:
    """Return the `goft train` that composes to the run's configuration.

    Its benchmark is left out, for it changes nothing in the training. None if the run's task, model
    or adapter is not among the choices: then only `config.yaml` has it.
    """
    words = [f"adapter={cfg.adapter.name}", f"seed={cfg.seed}"]
    words += [f"task={cfg.task.name}", *model_words(cfg.model)]
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


def one_per_adapter(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the first run of each adapter."""
    first: dict[str, RunRecord] = {}
    for run in runs:
        first.setdefault(run.adapter, run)
    return list(first.values())


def recorded_layers(run: RunRecord) -> list[LayerReport] | None:
    """Return the measurements of layers that the run made at its end.

    None if it made none, or if base model or adapter have changed: opening the run reports that.
    """
    try:
        base = provenance.base_on_disk(provenance.section(run.manifest, "model"), run.cfg.model)
        changed = base or provenance.adapter_changes(run.manifest, run.folder)
    except (GoftError, OSError):
        return None
    return None if changed else layers.read(run.folder.path)


def measured_layers(run: TrainedRun) -> list[LayerReport]:
    """Measure every adapted layer; merges the run's model, which is used up."""
    from goft_cli.models.adapters import merge

    with layers.measuring(run.model) as found:
        merge(run.model)
    return found

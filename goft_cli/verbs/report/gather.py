"""Finished runs of one task and model: their commands, and measurements of their layers."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import TrainConfig
from goft_cli.config.model import words_of
from goft_cli.models import adapters
from goft_cli.run.configuration import settings
from goft_cli.run.record import RunRecord
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.tuner.geometry import (
    NeuronChange,
    RotationGeometry,
    adapted_weights,
    hyperspherical_energy,
    neuron_changes,
    neurons,
    rotation_geometries,
)


def train_command(cfg: TrainConfig) -> str | None:
    """Return the `goft train` that composes to the run's configuration.

    Its benchmark is left out, for it changes nothing in the training. None where the run's task,
    model or adapter is not among the choices: then `config.yaml` alone has it.
    """
    words = [f"adapter={cfg.adapter.name}", f"seed={cfg.seed}"]
    words += [f"task={cfg.task.name}", *words_of(cfg.model)]
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


@dataclass(frozen=True)
class LayerReport:
    """One adapted layer, before and after.

    Attributes:
        name: in the plain model.
        rotation: of GOFT and qGOFT; None for another adapter.
        neurons: how far each output's weights turned and stretched.
        energy_before: hyperspherical energy of the pretrained weight.
        energy_after: of the adapted one.
    """

    name: str
    rotation: RotationGeometry | None
    neurons: NeuronChange
    energy_before: float
    energy_after: float

    @property
    def depth(self) -> int | None:
        """Number of the block that the layer is in, if it is in one."""
        found = re.search(r"\.(\d+)\.", self.name)
        return int(found[1]) if found else None

    @property
    def kind(self) -> str:
        """What follows the block's number: `attention.self.query`."""
        return re.split(r"\.\d+\.", self.name, maxsplit=1)[-1]

    @property
    def place(self) -> str:
        """Block and kind, without what all layers have in common."""
        return self.name if self.depth is None else f"{self.depth}  {self.kind}"

    @property
    def turned(self) -> float:
        """Mean angle in degrees between a neuron's weights before and after."""
        return math.degrees(self.neurons.angles.mean())

    @property
    def energy_change(self) -> float:
        """Relative change of the hyperspherical energy."""
        return self.energy_after / self.energy_before - 1

    @property
    def pair_angles(self) -> Tensor:
        """(d-1,) degrees: how far each pair of coordinates turns; empty for another adapter."""
        return torch.empty(0) if self.rotation is None else torch.rad2deg(self.rotation.angles)


def layer_reports(run: TrainedRun) -> list[LayerReport]:
    """Measure every adapted layer; merges the run's model, which is used up."""
    rotations = rotation_geometries(run.model)
    before = adapted_weights(run.model)
    merged = adapters.merge(run.model)
    changes = neuron_changes(before, merged)
    after = {name: neurons(merged.get_submodule(name)) for name in before}
    return [
        LayerReport(
            name=name,
            rotation=rotations.get(name),
            neurons=changes[name],
            energy_before=hyperspherical_energy(weight),
            energy_after=hyperspherical_energy(after[name]),
        )
        for name, weight in before.items()
    ]


def by_stage(layers: Sequence[LayerReport]) -> Mapping[int, float]:
    """Return the mean |angle| in degrees of each stage, 1 for neighbours, over all layers."""
    found: dict[int, list[Tensor]] = {}
    for layer in layers:
        stages = layer.rotation.by_stage() if layer.rotation else ()
        for number, angles in enumerate(stages, start=1):
            found.setdefault(number, []).append(angles.abs())
    return {stage: math.degrees(torch.cat(angles).mean()) for stage, angles in found.items()}

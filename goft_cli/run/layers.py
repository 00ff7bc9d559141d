"""How an adapter changed each layer, measured while it is merged and stored for the report."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from goft_cli.system.files import note, written_aside

if TYPE_CHECKING:  # a page on runs that kept their measurements needs no torch
    from torch import Tensor, nn

    from goft_cli.tuner.geometry import RotationGeometry

NAME = "layers.safetensors"
WORK_PER_SECOND = 3e9
"""rows^2 x columns that `hyperspherical_energy` does per second on one core: 2e9 to 6e9."""
LEAST_SECONDS, SHARE = 1.0, 0.05
"""The measurements may take this long on a CPU, or this share of the training time."""


@dataclass(frozen=True)
class LayerReport:
    """One adapted layer, before and after.

    Attributes:
        name: in the plain model.
        stages: how many pairs each stage of the rotation has; empty for another adapter.
        orthogonality_error: of the rotation, see `RotationGeometry`.
        deviation: of the pair that is farthest from a rotation.
        turned: mean angle in degrees between a neuron's weights before and after.
        shortest: the smallest ratio of a neuron's length after to before.
        longest: the largest such ratio.
        energy_before: hyperspherical energy of the pretrained weight.
        energy_after: of the adapted one.
        angles: (d-1,) radians that the pairs turn by; empty for another adapter.
    """

    name: str
    stages: Sequence[int]
    orthogonality_error: float
    deviation: float
    turned: float
    shortest: float
    longest: float
    energy_before: float
    energy_after: float
    angles: np.ndarray

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
    def energy_change(self) -> float:
        """Relative change of the hyperspherical energy."""
        return self.energy_after / self.energy_before - 1

    @property
    def pair_angles(self) -> np.ndarray:
        """(d-1,) degrees: how far each pair of coordinates turns; empty for another adapter."""
        return np.rad2deg(self.angles)


def by_stage(layers: Sequence[LayerReport]) -> Mapping[int, float]:
    """Return the mean |angle| in degrees of each stage, 1 for neighbours, over all layers."""
    found: dict[int, list[np.ndarray]] = {}
    for layer in layers:
        parts = np.split(np.abs(layer.pair_angles), np.cumsum(layer.stages)[:-1].astype(int))
        for number, angles in enumerate(parts if layer.stages else (), start=1):
            found.setdefault(number, []).append(angles)
    return {stage: float(np.concatenate(angles).mean()) for stage, angles in found.items()}


@contextmanager
def measuring(model: nn.Module) -> Iterator[list[LayerReport]]:
    """Measure each adapted layer when the block merges it, one layer in memory at a time."""
    from peft.tuners.lora.layer import ParamWrapper
    from peft.tuners.tuners_utils import BaseTunerLayer

    from goft_cli.tuner.geometry import WRAPPER, neurons, rotation_geometries

    rotations, found = rotation_geometries(model), []

    def observe(layer: Any, name: str) -> None:  # noqa: ANN401 - PEFT's layers have no common `merge`
        merge = layer.merge

        def observed(*args: object, **options: object) -> None:
            before = neurons(layer.get_base_layer()).clone()
            merge(*args, **options)
            after = neurons(layer.get_base_layer())
            found.append(measured(name, rotations.get(name), before, after))

        layer.merge = observed

    for name, layer in model.named_modules():
        if isinstance(layer, BaseTunerLayer) and not isinstance(layer, ParamWrapper):
            observe(layer, name.removeprefix(WRAPPER))
    yield found


def measured(
    name: str, rotation: RotationGeometry | None, before: Tensor, after: Tensor
) -> LayerReport:
    """Compare the weight (out, in) of one layer before and after."""
    from goft_cli.tuner.geometry import hyperspherical_energy, neuron_change

    change = neuron_change(before, after)
    return LayerReport(
        name=name,
        stages=[len(part) for part in rotation.by_stage()] if rotation else [],
        orthogonality_error=rotation.orthogonality_error if rotation else 0.0,
        deviation=float(rotation.deviations.max()) if rotation else 0.0,
        turned=math.degrees(change.angles.mean()),
        shortest=float(change.norm_ratios.min()),
        longest=float(change.norm_ratios.max()),
        energy_before=hyperspherical_energy(before),
        energy_after=hyperspherical_energy(after),
        angles=rotation.angles.cpu().numpy() if rotation else np.empty(0, np.float32),
    )


def is_quick(model: nn.Module, train_seconds: float) -> bool:
    """Tell whether the measurements are short beside the training; on a GPU they always are."""
    from goft_cli.tuner.geometry import ENERGY_NEURONS, adapted_weights

    work = 0
    for weight in adapted_weights(model).values():
        if weight.device.type != "cpu":
            return True
        rows, columns = weight.shape
        work += (rows / -(-rows // ENERGY_NEURONS)) ** 2 * columns
    return 2 * work / WORK_PER_SECOND < max(LEAST_SECONDS, SHARE * train_seconds)


def write(folder: Path, layers: Sequence[LayerReport]) -> None:
    """Write the measurements into a run folder: angles as tensors, numbers as their metadata."""
    from safetensors.numpy import save

    note(folder, NAME)
    tensors = {layer.name: layer.angles for layer in layers}
    numbers = [{k: v for k, v in asdict(layer).items() if k != "angles"} for layer in layers]
    with written_aside(folder / NAME) as file:
        file.write(save(tensors, {"layers": json.dumps(numbers)}))


def read(folder: Path) -> list[LayerReport] | None:
    """Return the measurements that a run stored, or None if there are none that can be read."""
    from safetensors import SafetensorError, safe_open

    names = {entry.name for entry in fields(LayerReport)} - {"angles"}
    try:
        with safe_open(folder / NAME, "numpy") as file:
            numbers = json.loads(file.metadata()["layers"])
            kept = [{key: one[key] for key in names} for one in numbers]
            return [LayerReport(**one, angles=file.get_tensor(one["name"])) for one in kept]
    except (OSError, SafetensorError, ValueError, LookupError, TypeError):
        return None

"""Proof that an exported model is the adapted one: outputs on real rows, geometry by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goft_cli.config.model import real_name
from goft_cli.run import manifest
from goft_cli.run.configuration import config_sha256
from goft_cli.run.outcome import compute_dtype
from goft_cli.run.provenance import adapter_sha256, describe_base
from goft_cli.run.trained import TrainedRun
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Table, measures, styled
from goft_cli.tasks.base import Arrays, Split
from goft_cli.training.evaluation import compare, score_splits
from goft_cli.tuner.geometry import NeuronChange, RotationGeometry

REPORT, CARD = "merge_report.json", "README.md"
"""The certificate itself, and the page about it."""


@dataclass(frozen=True)
class LayerChange:
    """One adapted layer; what only rotations have is None for other adapters.

    Attributes:
        orthogonality_error: largest entry of |T^T T - I| of the map that the inputs go through.
        mean_angle_degrees: mean size of the pairs' angles.
        largest_angle_degrees: the pair that turned most.
        largest_deviation: the 2x2 block farthest from a rotation, as a share of lengths.
        neuron_turn_degrees: mean angle between an output's weights before and after.
        neuron_norm_change: largest relative change of the length of an output's weights.
        residual: ||D - B A|| / ||D|| of the weights' change D and its LoRA factors, if converted.
    """

    orthogonality_error: float | None
    mean_angle_degrees: float | None
    largest_angle_degrees: float | None
    largest_deviation: float | None
    neuron_turn_degrees: float
    neuron_norm_change: float
    residual: float | None = None


@dataclass(frozen=True)
class OutputAgreement:
    """Outputs of the exported model beside those of the adapter, on the same rows.

    Attributes:
        rows: how many, by split.
        largest: largest difference of an output, relative to the outputs' root mean square.
        mean: mean difference, likewise.
        dtype: the coarsest precision of the forward pass.
        rounding: spacing of numbers just above 1 in that precision.
        tolerance: largest difference that is accepted; None if none was asked for.
        metrics: of the task on these rows, of the adapter and of the exported model.
    """

    rows: dict[str, int]
    largest: float
    mean: float
    dtype: str
    rounding: float
    tolerance: float | None
    metrics: dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Certificate:
    """What `merge_report.json` holds.

    Attributes:
        run: which run was exported.
        outputs: of the exported model beside the adapter's; None where no rows were asked for.
        layers: what the adapter did to each.
        environment: versions and hardware.
        sha256: by file name, of the `adapter` and the `base` model that were read, and of every
            file that was `exported`, as it lies on the disk.
    """

    run: dict[str, Any]
    outputs: OutputAgreement | None
    layers: dict[str, LayerChange]
    environment: dict[str, Any]
    sha256: dict[str, dict[str, str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)


def identify(run: TrainedRun) -> dict[str, Any]:
    """Return which run was exported, without a word on where it lies on this machine."""
    names = {"task": run.task.config.name, "model": real_name(run.cfg.model)}
    return {
        **names,
        "adapter": run.cfg.adapter.name,
        "seed": run.cfg.seed,
        "config_sha256": config_sha256(run.cfg),
        "base_fingerprint": run.backbone.fingerprint,
    }


def agreement(
    run: TrainedRun,
    splits: Mapping[str, Split],
    adapted: Mapping[str, Arrays],
    exported: Mapping[str, Arrays],
    tolerance: float | None,
) -> OutputAgreement:
    """Hold the exported model's outputs against the adapter's."""
    dtype, found = compute_dtype(run.cfg), compare(adapted, exported)
    rows = {name: len(split.rows) for name, split in splits.items()}
    if tolerance is not None and not found.largest <= tolerance:
        raise GoftError(
            f"the exported model differs from adapter={run.folder.path}: outputs on "
            f"{sum(rows.values())} rows are up to {found.largest:.2g} apart (relative), expected "
            f"at most {tolerance:.2g}; nothing was written",
            "check the adapter, or accept the difference with tolerance=NUMBER",
        )
    scores = {"adapter": adapted, "exported": exported}
    return OutputAgreement(
        rows=rows,
        largest=found.largest,
        mean=found.mean,
        dtype=str(dtype).removeprefix("torch."),
        rounding=torch.finfo(dtype).eps,
        tolerance=tolerance,
        metrics={who: score_splits(run.task, o, dict(splits)) for who, o in scores.items()},
    )


def layer_changes(
    geometries: Mapping[str, RotationGeometry],
    neurons: Mapping[str, NeuronChange],
    residuals: Mapping[str, float] | None = None,
) -> dict[str, LayerChange]:
    """Summarise each adapted layer: its rotation if it has one, and what its weights did."""
    return {
        name: LayerChange(
            **rotation_summary(geometries.get(name)),
            neuron_turn_degrees=degrees(change.angles.mean()),
            neuron_norm_change=float((change.norm_ratios - 1).abs().max()),
            residual=(residuals or {}).get(name),
        )
        for name, change in neurons.items()
    }


def rotation_summary(found: RotationGeometry | None) -> dict[str, float | None]:
    """Return the numbers of a rotation, or None for each."""
    if found is None or not len(found.angles):
        keys = ("mean_angle_degrees", "largest_angle_degrees", "largest_deviation")
        return {"orthogonality_error": None, **dict.fromkeys(keys)}
    sizes = found.angles.abs()
    return {
        "orthogonality_error": found.orthogonality_error,
        "mean_angle_degrees": degrees(sizes.mean()),
        "largest_angle_degrees": degrees(sizes.max()),
        "largest_deviation": float(found.deviations.max()),
    }


def degrees(radians: Tensor) -> float:
    """Convert a tensor of one number."""
    return math.degrees(float(radians))


def certify(
    run: TrainedRun, outputs: OutputAgreement | None, layers: dict[str, LayerChange]
) -> Certificate:
    """Put the parts together, with what they were measured on."""
    sha256 = {"adapter": adapter_sha256(run.folder), "base": describe_base(run.cfg.model)["sha256"]}
    return Certificate(identify(run), outputs, layers, manifest.environment(), sha256)


def exported_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of an exported model, read from the disk."""
    files = [path for path in folder.rglob("*") if path.name not in {REPORT, CARD}]
    found = digests(files, fresh=True)
    return {path.relative_to(folder).as_posix(): digest for path, digest in found.items()}


SHOWN_LAYERS = 8
"""How many layers the table on the screen has; the file has all of them."""

COLUMNS = {
    "|TᵀT - I|": ("orthogonality_error", "{:.1e}"),
    "mean angle": ("mean_angle_degrees", "{:.2f}°"),
    "deviation": ("largest_deviation", "{:.1e}"),
    "weights turn": ("neuron_turn_degrees", "{:.2f}°"),
    "norm change": ("neuron_norm_change", "{:.1e}"),
    "residual": ("residual", "{:.3f}"),
}
"""Title, field of `LayerChange`, and how it is written."""


def summary_table(certificate: Certificate) -> Table:
    """Lay out the differences, and the layers that turned most."""
    run, found = certificate.run, certificate.outputs
    rows: list[Sequence[str]] = [("rows compared", "none")]
    if found is not None:
        accepted = "any" if found.tolerance is None else f"{found.tolerance:.1e}"
        rows = [
            ("rows compared", f"{sum(found.rows.values()):,}"),
            ("largest difference", *styled("bold", f"{found.largest:.1e}")),
            ("mean difference", f"{found.mean:.1e}"),
            (f"one rounding in {found.dtype}", f"{found.rounding:.1e}"),
            ("accepted at most", accepted),
        ]
    return measures(f"{run['task']}  {run['model']}  {run['adapter']}", rows, "value")


def layer_table(layers: Mapping[str, LayerChange]) -> Table:
    """Lay out the layers whose weights turned most, the first of them first."""
    ranked = sorted(layers.items(), key=lambda item: -item[1].neuron_turn_degrees)[:SHOWN_LAYERS]
    found = {name: asdict(change) for name, change in ranked}
    present = {
        title: (key, form)
        for title, (key, form) in COLUMNS.items()
        if any(row[key] is not None for row in found.values())
    }
    shared = shared_beginning(list(layers))
    rows = [
        [name.removeprefix(f"{shared}."), *(f.format(row[key]) for key, f in present.values())]
        for name, row in found.items()
    ]
    title = f"layers of {shared or 'the model'} whose weights turned most"
    caption = f"{len(rows)} of {len(layers)}; merge_report.json has all"
    return Table(["layer", *present], rows, title, "fr", caption)


def shared_beginning(names: list[str]) -> str:
    """Return the modules that all names lie in: `a.b` of `a.b.1.x` and `a.b.2`."""
    return commonpath([name.replace(".", "/") for name in names]).replace("/", ".")

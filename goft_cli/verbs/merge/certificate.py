"""Proof that an exported model is the adapted one: outputs on real rows, geometry by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from posixpath import commonpath
from typing import Any

import torch
from torch import nn

from goft_cli.config import ExportConfig
from goft_cli.config.model import real_name
from goft_cli.run.configuration import config_sha256
from goft_cli.run.manifest import describe_base, environment
from goft_cli.run.outcome import compute_dtype
from goft_cli.run.provenance import adapter_sha256
from goft_cli.run.trained import TrainedRun
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Table, measures, styled
from goft_cli.training.evaluation import output_difference, score_splits
from goft_cli.tuner.geometry import NeuronChange, RotationGeometry

REPORT, CARD = "merge_report.json", "README.md"
"""The certificate itself, and the page about it."""
SHOWN_LAYERS = 8
"""The most layers in the table on the screen; the file has all of them."""
COLUMNS = {
    "|TᵀT - I|": ("orthogonality_error", "{:.1e}"),
    "mean angle": ("mean_angle_degrees", "{:.2f}°"),
    "deviation": ("largest_deviation", "{:.1e}"),
    "weights turn": ("neuron_turn_degrees", "{:.2f}°"),
    "norm change": ("neuron_norm_change", "{:.1e}"),
    "residual": ("residual", "{:.3f}"),
}
"""Title, field of `LayerChange`, and format."""


@dataclass(frozen=True, kw_only=True)
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

    orthogonality_error: float | None = None
    mean_angle_degrees: float | None = None
    largest_angle_degrees: float | None = None
    largest_deviation: float | None = None
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
        layers: how the adapter changed each.
        environment: versions and hardware.
        sha256: by file name, of the `adapter` and the `base` model that were read, and of every
            file that was `exported`, as it lies on the disk.
    """

    run: dict[str, Any]
    outputs: OutputAgreement | None
    layers: dict[str, LayerChange]
    environment: dict[str, Any]
    sha256: dict[str, dict[str, str]]


class Reference:
    """The adapter's outputs on real rows, as many as were asked for."""

    def __init__(self, run: TrainedRun, cfg: ExportConfig) -> None:
        self.run, self.batch_size = run, cfg.batch_size
        self.splits = run.sample(cfg.samples) if cfg.samples else {}
        self.outputs = run.outputs(run.model, self.splits, cfg.batch_size)

    def against(self, model: nn.Module, tolerance: float | None) -> OutputAgreement | None:
        """Compare an exported model's outputs, if there are rows to compare on."""
        run, splits = self.run, self.splits
        if not splits:
            return None
        exported = run.outputs(model, splits, self.batch_size)
        dtype, found = compute_dtype(run.cfg), output_difference(self.outputs, exported)
        rows = {name: len(split.rows) for name, split in splits.items()}
        if tolerance is not None and not found.largest <= tolerance:
            raise GoftError(
                f"the exported model differs from adapter={run.folder.path}: outputs on "
                f"{sum(rows.values())} rows are up to {found.largest:.2g} apart (relative), "
                f"expected at most {tolerance:.2g}; nothing was written",
                "check the adapter, or accept the difference with tolerance=NUMBER",
            )
        scores = {"adapter": self.outputs, "exported": exported}
        return OutputAgreement(
            rows=rows,
            largest=found.largest,
            mean=found.mean,
            dtype=str(dtype).removeprefix("torch."),
            rounding=torch.finfo(dtype).eps,
            tolerance=tolerance,
            metrics={who: score_splits(run.task, o, splits) for who, o in scores.items()},
        )


def layer_changes(
    geometries: Mapping[str, RotationGeometry],
    neurons: Mapping[str, NeuronChange],
    residuals: Mapping[str, float] | None = None,
) -> dict[str, LayerChange]:
    """Summarise each adapted layer: its rotation if it has one, and the change of its weights."""
    return {
        name: LayerChange(
            **rotation_summary(geometries.get(name)),
            neuron_turn_degrees=math.degrees(change.angles.mean()),
            neuron_norm_change=float((change.norm_ratios - 1).abs().max()),
            residual=(residuals or {}).get(name),
        )
        for name, change in neurons.items()
    }


def rotation_summary(found: RotationGeometry | None) -> dict[str, float]:
    """Return the numbers of a rotation, if there is one."""
    if found is None or not len(found.angles):
        return {}
    sizes = found.angles.abs()
    return {
        "orthogonality_error": found.orthogonality_error,
        "mean_angle_degrees": math.degrees(sizes.mean()),
        "largest_angle_degrees": math.degrees(sizes.max()),
        "largest_deviation": float(found.deviations.max()),
    }


def certify(
    run: TrainedRun, outputs: OutputAgreement | None, layers: dict[str, LayerChange]
) -> Certificate:
    """Build the certificate, with digests of the files measured, but no path of this machine."""
    exported = {
        "task": run.task.config.name,
        "model": real_name(run.cfg.model),
        "adapter": run.cfg.adapter.name,
        "strength": run.strength,
        "seed": run.cfg.seed,
        "config_sha256": config_sha256(run.cfg),
        "base_fingerprint": run.backbone.fingerprint,
    }
    sha256 = {"adapter": adapter_sha256(run.folder), "base": describe_base(run.cfg.model)["sha256"]}
    return Certificate(exported, outputs, layers, environment(), sha256)


def exported_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of an exported model, read from the disk."""
    files = [path for path in folder.rglob("*") if path.name not in {REPORT, CARD}]
    found = digests(files, fresh=True)
    return {path.relative_to(folder).as_posix(): digest for path, digest in found.items()}


def summary_table(certificate: Certificate) -> Table:
    """Lay out the differences, and the layers that turned most."""
    run, found = certificate.run, certificate.outputs
    rows: list[Sequence[str]] = [("strength", f"{run['strength']:g}"), ("rows compared", "none")]
    if found is not None:
        accepted = "any" if found.tolerance is None else f"{found.tolerance:.1e}"
        rows = [
            rows[0],
            ("rows compared", f"{sum(found.rows.values()):,}"),
            ("largest difference", *styled("bold", f"{found.largest:.1e}")),
            ("mean difference", f"{found.mean:.1e}"),
            (f"one rounding in {found.dtype}", f"{found.rounding:.1e}"),
            ("accepted at most", accepted),
        ]
    return measures(f"{run['task']}  {run['model']}  {run['adapter']}", rows, "value")


def layer_table(layers: Mapping[str, LayerChange]) -> Table:
    """Lay out the layers whose weights turned most, in falling order."""
    ranked = sorted(layers.items(), key=lambda item: -item[1].neuron_turn_degrees)[:SHOWN_LAYERS]
    found = {name: asdict(change) for name, change in ranked}
    present = {
        title: (key, form)
        for title, (key, form) in COLUMNS.items()
        if any(row[key] is not None for row in found.values())
    }
    # the modules that all layers are in: `a.b` of `a.b.1.x` and `a.b.2`
    shared = commonpath([name.replace(".", "/") for name in layers]).replace("/", ".")
    rows = [
        [name.removeprefix(f"{shared}.")]
        + ["" if row[key] is None else form.format(row[key]) for key, form in present.values()]
        for name, row in found.items()
    ]
    title = f"layers of {shared or 'the model'} whose weights turned most"
    caption = f"{len(rows)} of {len(layers)}; merge_report.json has all"
    return Table(["layer", *present], rows, title, "fr", caption)

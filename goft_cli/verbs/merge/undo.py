"""Take the adapter out of a merged model: W R^T R, compared with the base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from goft_cli.models.adapters import ADAPTER, trained_modules
from goft_cli.models.heads import head_of
from goft_cli.rotation import rotate_transposed, schedule
from goft_cli.run.manifest import environment
from goft_cli.run.provenance import adapter_sha256
from goft_cli.run.record import RunRecord
from goft_cli.run.trained import TrainedRun
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json, write_json
from goft_cli.system.locations import whole_folder
from goft_cli.system.tables import Table, measures
from goft_cli.tuner.geometry import WRAPPER, neurons
from goft_cli.tuner.layer import GoftLayer
from goft_cli.verbs.merge.certificate import REPORT, exported_sha256
from goft_cli.verbs.merge.export import reopened

UNDO_REPORT = "undo_report.json"
MARGIN = 2.0
"""Factor of a derived bound, for the constants that the derivation leaves out."""


@dataclass(frozen=True)
class LayerUndone:
    """How far a layer's weights are from the base model's, in roundings.

    One rounding is the spacing of numbers just above 1 in the precision of the merged weights,
    times the length of the output's weights: undoing the rotation of a row spreads the rounding of
    one entry over all of them.
    """

    difference: float
    """Of the entry with the largest difference."""
    allowed: float
    """The largest difference that rounding explains."""


@dataclass(frozen=True)
class Undone:
    """What `undo_report.json` holds.

    Attributes:
        run: which run's adapter was taken out, and its strength.
        dtype: precision of the merged weights.
        layers: each adapted layer beside the base model's.
        head: modules that stay as trained, since the base model does not have them.
        environment: versions and hardware.
        sha256: by file name, of the `adapter`, the `merged` model and what was `exported`.
    """

    run: dict[str, Any]
    dtype: str
    layers: dict[str, LayerUndone]
    head: list[str]
    environment: dict[str, Any]
    sha256: dict[str, dict[str, str]]


def check_merged(folder: Path, run: RunRecord) -> dict[str, Any]:
    """Return the certificate of a merged folder; refuse one that cannot be undone exactly.

    No model is loaded.
    """
    if run.cfg.adapter.peft_type != "GOFT":
        raise GoftError(
            f"undo: found the method {run.adapter}, expected goft or qgoft, whose rotations "
            "can be undone",
            f"take the base model itself, {run.cfg.model.path}",
        )
    remedy = "pass merged_dir=DIR, the folder that goft merge wrote for this run"
    if not (folder / REPORT).is_file():
        raise GoftError(f"merged_dir={folder}: no {REPORT} there", remedy)
    if not (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        raise GoftError(f"merged_dir={folder}: found no merged model, but an adapter", remedy)
    report = read_json(folder / REPORT)
    recorded = report.get("sha256", {})
    if not (isinstance(recorded, dict) and isinstance(report["run"], dict)):
        raise GoftError(f"{folder / REPORT}: damaged", "merge again into another folder")
    if recorded.get("adapter") != adapter_sha256(run.folder):
        raise GoftError(
            f"merged_dir={folder}: its {REPORT} names another adapter than that of "
            f"{run.folder.path}",
            remedy,
        )
    if "quantization_config" in read_json(folder / "config.json"):
        raise GoftError(
            f"merged_dir={folder}: its weights are quantized, so undoing cannot be checked against "
            "the base model",
            "merge again without quantization, and undo that",
        )
    if recorded.get("exported") != exported_sha256(folder):
        raise GoftError(
            f"merged_dir={folder}: its files are no longer those that {REPORT} names",
            "merge again into another folder",
        )
    return report


def undo(run: TrainedRun, report: Mapping[str, Any], merged_dir: Path, target: Path) -> Undone:
    """Write the model of a merged folder without the adapter, and how far it is from the base.

    `report` is what `check_merged` returned. The head stays as it was trained.
    """
    adapted = run.mergeable()
    layers = goft_layers(adapted)
    head = trained_modules(adapted, run.cfg.adapter, head_of(adapted, run.cfg.model))
    with whole_folder(target) as folder:
        plain = reopened(run, merged_dir)
        found = {
            name: turned_back(name, layer, plain.get_submodule(name))
            for name, layer in layers.items()
        }
        for name, one in found.items():
            if not one.difference <= one.allowed:
                raise mismatch(merged_dir, name, one)
        check_rest(plain, adapted, {*found}, head, merged_dir)
        plain.save_pretrained(folder)
        run.backbone.processor.save_pretrained(folder)
        sha256 = {"adapter": adapter_sha256(run.folder), "merged": report["sha256"]["exported"]}
        undone = Undone(
            run=report["run"],
            dtype=str(plain.dtype).removeprefix("torch."),
            layers=found,
            head=head,
            environment=environment(),
            sha256=sha256 | {"exported": exported_sha256(folder)},
        )
        write_json(folder / UNDO_REPORT, asdict(undone))
    return undone


def goft_layers(model: PeftModel) -> dict[str, GoftLayer]:
    """Return the adapted layers by their names in the plain model."""
    return {
        name.removeprefix(WRAPPER): layer
        for name, layer in model.named_modules()
        if isinstance(layer, GoftLayer)
    }


@torch.no_grad()
def turned_back(name: str, layer: GoftLayer, merged: nn.Module) -> LayerUndone:
    """Take the adapter out of a layer's merged weights, in place, and compare with the base's.

    Computed in float64 and rounded once.
    """
    weight, base = neurons(merged), neurons(layer.get_base_layer()).double()
    rotation, scale = layer.rotation(ADAPTER).double(), layer.scale(ADAPTER)
    factors = torch.ones(len(rotation) + 1) if scale is None else scale
    spread = condition(rotation) * float(factors.abs().max() / factors.abs().min())
    rounding = torch.finfo(weight.dtype).eps
    if not spread < 1 / rounding:
        raise GoftError(
            f"undo: layer {name}: a block or a factor of its adapter is singular, or so nearly "
            f"that undoing it could enlarge rounding errors {spread:.3g} times, beyond all digits "
            f"of {str(weight.dtype).removeprefix('torch.')}",
            "take the base model itself",
        )
    inverse = rotation if rotation.dim() == 1 else torch.linalg.inv(rotation).mT
    rows = rotate_transposed(weight.double(), inverse.to(weight.device))
    weight.copy_(rows / factors.to(rows))
    unit = rounding * base.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    difference = float(((neurons(merged).double() - base.to(rows.device)).abs() / unit).max())
    # the merge rounded once in each stage of float32, and once to the weights' precision
    stages = len(schedule(len(rotation) + 1)) * torch.finfo(torch.float32).eps / rounding
    return LayerUndone(difference, MARGIN * spread * (1 + stages))


def condition(rotation: Tensor) -> float:
    """Return how much undoing a rotation may enlarge an error: 1 if strict, else a bound."""
    if rotation.dim() == 1:
        return 1.0
    sizes = torch.linalg.svdvals(rotation)
    ratios = sizes[:, 0] / sizes[:, 1]
    stages = schedule(len(rotation) + 1)
    return math.prod(float(ratios[stage.span].max()) for stage in stages)


def mismatch(folder: Path, name: str, found: LayerUndone) -> GoftError:
    """Return the error for a result that is not the base model."""
    return GoftError(
        f"merged_dir={folder}: layer {name} comes out {found.difference:.3g} roundings from the "
        f"base model, expected at most {found.allowed:.3g}; nothing was written",
        "pass the folder that goft merge wrote for this run, and its base model",
    )


def check_rest(
    plain: PreTrainedModel, adapted: PeftModel, layers: set[str], head: list[str], folder: Path
) -> None:
    """Refuse a merged model that differs from the base where the adapter changes nothing."""
    base = {
        name.replace(".base_layer", "").replace(".original_module", ""): tensor
        for name, tensor in adapted.get_base_model().state_dict().items()
    }
    for name, tensor in plain.state_dict().items():
        changed = name.removesuffix(".weight") in layers or in_modules(name, head)
        if not changed and not torch.equal(tensor, base[name].to(tensor)):
            raise GoftError(
                f"merged_dir={folder}: {name} is not the base model's; nothing was written",
                "pass the folder that goft merge wrote for this run, and its base model",
            )


def undone_table(undone: Undone) -> Table:
    """Lay out how far the model is from the base."""
    worst = max(undone.layers.items(), key=lambda item: item[1].difference / item[1].allowed)
    run = undone.run
    rows = [
        ("layers turned back", f"{len(undone.layers)}"),
        ("largest difference", f"{worst[1].difference:.2g} roundings in {undone.dtype}"),
        ("explained by rounding", f"up to {worst[1].allowed:.2g}"),
        ("in layer", worst[0]),
        ("head, as trained", ", ".join(undone.head) or "none"),
    ]
    return measures(f"{run['task']}  {run['model']}  {run['adapter']}", rows, "value")

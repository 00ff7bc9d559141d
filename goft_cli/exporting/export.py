"""Write a trained run as a plain model or as LoRA, and certify what was written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from goft_cli.config import ExportConfig
from goft_cli.exporting.certificate import (
    CARD,
    REPORT,
    Certificate,
    OutputAgreement,
    agreement,
    certify,
    exported_sha256,
    layer_changes,
)
from goft_cli.exporting.lora import lora_of, products, residuals, save_lora
from goft_cli.models.adapter_loading import load_adapter
from goft_cli.models.adapters import merge
from goft_cli.models.backbone import load_backbone
from goft_cli.models.weights import packing
from goft_cli.run.outcome import compute_dtype
from goft_cli.run.trained import TrainedRun
from goft_cli.sharing.cards import Kind, card
from goft_cli.system.files import write_json, write_text
from goft_cli.system.locations import whole_folder
from goft_cli.tasks.base import Arrays, Split
from goft_cli.training.evaluation import tolerance
from goft_cli.tuner.geometry import (
    adapted_weights,
    neuron_change,
    neuron_changes,
    rotation_geometries,
)


@dataclass(frozen=True)
class Reference:
    """The adapter's outputs on real rows, to hold an exported model against."""

    run: TrainedRun
    splits: dict[str, Split]
    outputs: dict[str, Arrays]
    batch_size: int

    def against(self, model: nn.Module, accepted: float | None) -> OutputAgreement | None:
        """Compare, if there are rows to compare on."""
        if not self.splits:
            return None
        found = self.run.outputs(model, self.splits, self.batch_size)
        return agreement(self.run, self.splits, self.outputs, found, accepted)


def reference(run: TrainedRun, cfg: ExportConfig) -> Reference:
    """Run the adapted model on as many rows as were asked for."""
    splits = run.sample(cfg.samples) if cfg.samples else {}
    return Reference(run, splits, run.outputs(run.model, splits, cfg.batch_size), cfg.batch_size)


def export_merged(run: TrainedRun, target: Path, cfg: ExportConfig) -> Certificate:
    """Write the plain model, tokenizer, card and certificate; `run.model` is used up.

    What is certified is the folder as transformers alone reads it again, its weights included;
    packed ones, which cannot be compared, as they were before packing.
    """
    adapted = reference(run, cfg)
    model = run.mergeable()
    geometries, before = rotation_geometries(model), adapted_weights(model)
    merged = merge(model)
    with whole_folder(target) as folder:
        write_model(run, merged, folder, cfg)
        run.backbone.processor.save_pretrained(folder)
        again, allowed = reopened(run, folder), accepted(run, cfg, len(before))
        changes = neuron_changes(before, merged if cfg.quantization else again)
        layers = layer_changes(geometries, changes)
        certificate = certify(run, adapted.against(again, allowed), layers)
        return write_documents(run, folder, "merged", certificate, location=str(target))


def export_lora(run: TrainedRun, target: Path, cfg: ExportConfig, rank: float) -> Certificate:
    """Write the adapter as LoRA, with tokenizer, card and certificate."""
    adapted, model = reference(run, cfg), run.mergeable()
    lora = lora_of(model, rank)
    changes, before = products(lora[1]), adapted_weights(model)
    neurons = {
        name: neuron_change(before[name], before[name].float() + change.to(before[name].device))
        for name, change in changes.items()
    }
    layers = layer_changes({}, neurons, residuals(model, changes))
    with whole_folder(target) as folder:
        save_lora(lora, folder)
        run.backbone.model.config.save_pretrained(folder)  # with the labels of the head
        run.backbone.processor.save_pretrained(folder)
        again = load_adapter(load_backbone(run.cfg.model, run.task), folder)
        certificate = certify(run, adapted.against(again, cfg.tolerance), layers)
        return write_documents(run, folder, "lora", certificate, location=str(target))


def write_model(run: TrainedRun, merged: PreTrainedModel, folder: Path, cfg: ExportConfig) -> None:
    """Write the merged weights in the precision, or packed as, the user asked for."""
    dtype = cfg.dtype or run.cfg.model.dtype
    cast("nn.Module", merged).to(getattr(torch, dtype.value))
    merged.save_pretrained(folder)
    if cfg.quantization is None:
        return
    form = replace(run.cfg.model, dtype=dtype, quantization=cfg.quantization)
    packed = getattr(transformers, run.task.auto_class).from_pretrained(folder, **packing(form))
    for plain in folder.glob("model*.safetensors*"):
        plain.unlink()
    packed.save_pretrained(folder)


def accepted(run: TrainedRun, cfg: ExportConfig, layers: int) -> float | None:
    """Return the largest difference of outputs to accept, None for any."""
    if cfg.tolerance is not None:
        return cfg.tolerance
    if cfg.dtype is not None or cfg.quantization is not None:
        return None
    return tolerance(compute_dtype(run.cfg), layers)


def reopened(run: TrainedRun, folder: Path) -> PreTrainedModel:
    """Load a merged folder the way everybody else will."""
    model = getattr(transformers, run.task.auto_class).from_pretrained(folder)
    model.is_quantized = False  # else Trainer, which only evaluates here, wants an adapter to train
    return model


def write_documents(
    run: TrainedRun,
    folder: Path,
    kind: Kind,
    certificate: Certificate,
    *,
    location: str,
    base: str | None = None,
) -> Certificate:
    """Write the certificate and the model card, after every other file; return what is certified.

    Args:
        run: what was exported.
        folder: the files, whose digests the certificate gets.
        kind: the form of the model.
        certificate: what was measured on it.
        location: where it will be loaded from.
        base: where the base model is, if its own path is not what others are to read.
    """
    sha256 = certificate.sha256 | {"exported": exported_sha256(folder)}
    certificate = replace(certificate, sha256=sha256)
    write_json(folder / REPORT, certificate.as_json())
    places = {"location": location, "base": base or run.cfg.model.path}
    write_text(folder / CARD, card(run, kind, **places, certificate=certificate))
    return certificate

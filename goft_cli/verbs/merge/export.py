"""A trained adapter as a merged model, or as LoRA by PEFT's own conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from peft import LoraConfig, PeftModel
from peft.tuners.lora import conversion
from peft.tuners.lora.conversion import convert_to_lora
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from goft_cli.config import ExportConfig
from goft_cli.models.adapter_loading import load_adapter
from goft_cli.models.adapters import ADAPTER, count_adapted_layers, merge
from goft_cli.models.backbone import load_backbone
from goft_cli.models.weights import keep_packing, packing
from goft_cli.run.outcome import compute_dtype
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json, write_text
from goft_cli.system.locations import whole_folder
from goft_cli.training.evaluation import tolerance
from goft_cli.tuner.geometry import (
    WRAPPER,
    adapted_weights,
    neuron_change,
    neuron_changes,
    neurons,
    rotation_geometries,
)
from goft_cli.verbs.merge.cards import Kind, card, published_revision
from goft_cli.verbs.merge.certificate import (
    CARD,
    REPORT,
    Certificate,
    Reference,
    certify,
    exported_sha256,
    layer_changes,
)

FACTOR = ".lora_A.weight"
"""Suffix of a layer's first factor in PEFT's files."""
Lora = tuple[LoraConfig, dict[str, Tensor]]


def lora_of(model: PeftModel, rank: float) -> Lora:
    """Convert a model's adapter, which is not merged; the head beside it stays as it is.

    `rank` is that of every layer or, below 1, the share of each layer's squared change to keep.
    The tensors are returned by their names in PEFT's files.
    """
    config = model.peft_config[ADAPTER]
    method = str(getattr(config.peft_type, "value", config.peft_type))
    if method == "LORA":
        kind = "LoRA already" if count_adapted_layers(model) else "put on no layers"
        raise GoftError(f"as_lora: the adapter is {kind}", "drop as_lora, or pass another run")
    try:
        with capped_ranks(model):
            lora, tensors = convert_to_lora(model, int(rank) if rank >= 1 else rank, ADAPTER)
    except TypeError as error:
        raise GoftError(
            f"as_lora: PEFT cannot convert {method}, only adapters that add to the weights",
            "merge it without as_lora",
        ) from error
    except ValueError as error:
        raise GoftError(f"as_lora={rank:g}: {error}") from error
    lora.task_type = config.task_type
    lora.target_modules = converted(tensors)  # PEFT's conversion keeps a pattern as it is
    lora.modules_to_save = sorted(set(lora.modules_to_save or [])) or None
    # VeRA's matrices that all layers share do not have the prefix of those of a layer
    parts = (cast(Any, model.base_model).prefix, f".{method.lower()}_")
    # PEFT's conversion drops the middle of a deep head's names: pooler.dense.weight
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    head = {name: tensor for name, tensor in own.items() if not any(part in name for part in parts)}
    factors = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    return lora, factors | head


@contextmanager
def capped_ranks(model: PeftModel) -> Iterator[None]:
    """Let PEFT's conversion give a layer at most its full rank, if a wider layer has the rank."""
    widest = max((min(weight.shape) for weight in adapted_weights(model).values()), default=0)
    convert = conversion._convert_module_to_lora

    def capped(module: BaseTunerLayer, rank: float, adapter_name: str) -> Any:  # noqa: ANN401 - PEFT's own
        full = min(neurons(module.get_base_layer()).shape)
        own = min(rank, full) if isinstance(rank, int) and rank <= widest else rank
        return convert(module, own, adapter_name)

    conversion._convert_module_to_lora = capped
    try:
        yield
    finally:
        conversion._convert_module_to_lora = convert


def save_lora(lora: Lora, folder: Path) -> None:
    """Write configuration and tensors the way PEFT reads them."""
    config, tensors = lora
    config.inference_mode = True
    config.save_pretrained(str(folder))
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def products(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return B A (out, in) of each layer, by its name in the plain model."""
    return {
        layer: tensors[f"{WRAPPER}{layer}.lora_B.weight"].float()
        @ tensors[f"{WRAPPER}{layer}{FACTOR}"].float()
        for layer in converted(tensors)
    }


def converted(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name the layers that have factors, as in the plain model."""
    names = [name.removeprefix(WRAPPER) for name in tensors if name.endswith(FACTOR)]
    return sorted(name.removesuffix(FACTOR) for name in names)


@torch.no_grad()
def residuals(model: PeftModel, approximations: Mapping[str, Tensor]) -> dict[str, float]:
    """Return ||D - B A|| / ||D|| of each layer, D the change of its weight; 0 where D is 0."""
    found = {}
    for name, product in approximations.items():
        layer = model.get_submodule(f"{WRAPPER}{name}")
        change = cast(Any, layer).get_delta_weight(ADAPTER).float()
        if isinstance(cast(BaseTunerLayer, layer).get_base_layer(), Conv1D):
            change = change.T
        size = float(change.norm())
        found[name] = float((change - product.to(change)).norm()) / size if size else 0.0
    return found


def export_merged(run: TrainedRun, target: Path, cfg: ExportConfig) -> Certificate:
    """Write the plain model, tokenizer, card and certificate; `run.model` is used up.

    The certificate holds for the folder as transformers alone reads it. Quantized weights cannot be
    compared, so they are certified as they were before quantization.
    """
    adapted = Reference(run, cfg)
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
    adapted, model = Reference(run, cfg), run.mergeable()
    lora = lora_of(model, rank)
    lora[0].revision = published_revision(run.cfg.model)  # PEFT's conversion drops it
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
    """Write the merged weights in the precision or the quantization that the user asked for."""
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
    """Load a merged folder with transformers alone."""
    model = getattr(transformers, run.task.auto_class).from_pretrained(folder)
    keep_packing(model)
    model.is_quantized = False  # else Trainer, which only evaluates, requires an adapter
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
        location: where others load it from.
        base: where others load its base model from; by default the run's own path.
    """
    sha256 = certificate.sha256 | {"exported": exported_sha256(folder)}
    certificate = replace(certificate, sha256=sha256)
    write_json(folder / REPORT, asdict(certificate))
    places = {"location": location, "base": base or run.cfg.model.path}
    write_text(folder / CARD, card(run, kind, **places, certificate=certificate))
    return certificate

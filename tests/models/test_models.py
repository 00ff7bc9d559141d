"""A small version of each kind of model in configs/model is adapted, trained, merged and loaded.

The models are found, not listed: a new one fails until `tests/support/architectures.py` has its
architecture.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig

from goft_cli.models.adapter_loading import load_adapter
from goft_cli.models.adapters import attach_adapter, count_adapted_layers, merge
from goft_cli.models.backbone import Backbone
from goft_cli.training.evaluation import output_difference, tolerance
from tests.support.architectures import (
    CAUSAL_LM,
    IMAGE_CLASSIFICATION,
    QUESTION_ANSWERING,
    SIZES,
    architecture,
    build,
    config_of,
    is_shipped,
    without_memory,
)
from tests.support.recipe_cells import CONFIGS, MODELS, cell, inherited, model_cell
from tests.support.small_runs import composed

ON_HUB = [name for name in MODELS if not is_shipped(inherited(f"/model/{name}").path)]
# The first model of each architecture is tested with three adapters and every head that a task of
# this package uses; other models with GOFT only, if their small version differs.
FIRST = {inherited(f"/model/{name}").architecture: name for name in reversed(MODELS)}.values()


def made_of(name: str) -> str:
    """Return a text that differs for models whose small versions differ."""
    model = inherited(f"/model/{name}")
    tied = SIZES.get(name, {}).get("tie_word_embeddings")
    return f"{model.architecture} {model.dtype} {model.target_modules} {tied}"


KINDS = {made_of(name): name for name in reversed(MODELS)}.values()
FOLLOWED = [(name, "goft") for name in dict.fromkeys([*FIRST, *KINDS])]
FOLLOWED += [(name, adapter) for name in FIRST for adapter in ("qgoft", "lora")]
INNER = {"output.dense", "fc2", "lin2", "mlp.Wo"}
"""Targets whose inputs have the intermediate size of a block."""

# Numbers of parameters behind the paper's figures: GOFT and qGOFT; LoRA of rank 16 on LLaMA2
# (0.25 % in Table 2) and of rank 8 on ViT (0.295 M in Table 3). OFT has 0.13 % and 0.147 M in the
# tables, which count b * b parameters for a block of size b; PEFT trains b (b - 1) / 2.
PAPER = {
    ("deberta-v3-base", "goft"): 82_872,
    ("llama2-7b", "goft"): 524_160,
    ("llama2-7b", "qgoft"): 2_096_640,
    ("llama2-7b", "lora"): 16_777_216,
    ("llama2-7b", "oft"): 8_388_608 // 256 * 120,
    ("vit-b16", "goft"): 82_872,
    ("vit-b16-qv", "goft"): 18_408,
    ("vit-b16-qv", "qgoft"): 73_632,
    ("vit-b16-qv", "lora"): 294_912,
    ("vit-b16-qv", "oft"): 147_456 // 64 * 28,
}


@pytest.mark.parametrize(("model", "adapter"), [key for key in PAPER if key[1] != "goft"])
def test_the_adapter_is_as_large_as_in_the_paper(model: str, adapter: str) -> None:
    _, counts = without_memory(composed([f"model={model}", f"adapter={adapter}"]))
    assert counts.adapter == PAPER[model, adapter]


@pytest.mark.parametrize("model", ON_HUB)
def test_every_target_of_the_whole_model_is_turned(model: str) -> None:
    """Check that GOFT trains d - 1 angles for each target with d inputs."""
    cfg = model_cell(model)
    size, targets = config_of(cfg.model), cfg.model.target_modules
    adapted, counts = without_memory(cfg)
    inner = getattr(size, "intermediate_size", 4 * size.hidden_size)
    inputs = [inner if target in INNER else size.hidden_size for target in targets]
    assert count_adapted_layers(adapted) == size.num_hidden_layers * len(targets)
    assert counts.adapter == size.num_hidden_layers * sum(width - 1 for width in inputs)
    assert counts.adapter == PAPER.get((model, "goft"), counts.adapter)
    text = (CONFIGS / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    pretrained = counts.total - counts.adapter - 2 * counts.head  # PEFT keeps two heads
    assert f"{in_words(pretrained)} parameters" in text


def in_words(parameters: int) -> str:
    """Return a number of parameters as the comments in the YAML files write it."""
    return f"{parameters / 1e9:.1f} B" if parameters > 1e9 else f"{parameters / 1e6:.0f} M"


@pytest.mark.parametrize(("model", "adapter"), FOLLOWED)
def test_a_small_one_is_adapted_trained_merged_and_loaded(
    model: str, adapter: str, tmp_path: Path
) -> None:
    follow(model, adapter, architecture(model_cell(model).model).heads[0], tmp_path)


@pytest.mark.parametrize("model", FIRST)
def test_other_heads(model: str, tmp_path: Path) -> None:
    for head in architecture(model_cell(model).model).heads[1:]:
        follow(model, "goft", head, tmp_path)


def follow(name: str, adapter: str, auto_class: str, folder: Path) -> None:
    """Adapt, train, save, load and merge a small random model, and compare its outputs."""
    model = model_cell(name).model
    method = cell("demo/acceptability", adapter).adapter
    method = replace(method, target_modules=model.target_modules)
    size = config_of(model, **architecture(model).tiny)
    torch.manual_seed(0)
    base = build(size, auto_class, model.dtype.value)
    base.save_pretrained(folder / "base")
    head = model.head_modules or []
    adapted = attach_adapter(Backbone(base, None, ""), method, head, auto_class, updates=1)
    batch = batch_for(auto_class, size, base.dtype)
    start = outputs(adapted, batch)
    step(adapted, batch)
    trained = outputs(adapted, batch)
    adapted.save_pretrained(str(folder / "adapter"))
    assert output_difference(start, trained).largest > 0.01

    auto = getattr(transformers, auto_class)
    again = Backbone(auto.from_pretrained(folder / "base", dtype=base.dtype), None, "")
    loaded = load_adapter(again, folder / "adapter")
    layers = count_adapted_layers(loaded)
    assert output_difference(trained, outputs(loaded, batch)).largest == 0

    merged = merge(loaded)
    found = outputs(merged, batch)
    assert output_difference(trained, found).largest <= tolerance(base.dtype, layers)
    merged.save_pretrained(folder / "merged")
    plain = auto.from_pretrained(folder / "merged", dtype=base.dtype)
    assert output_difference(found, outputs(plain, batch)).largest == 0


def batch_for(auto_class: str, size: PretrainedConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return two rows for a head, with targets."""
    if auto_class == IMAGE_CLASSIFICATION:
        images = torch.randn(2, 3, size.image_size, size.image_size, dtype=dtype)
        return {"pixel_values": images, "labels": torch.tensor([0, 1])}
    ids = torch.randint(3, size.vocab_size, (2, 6))
    if auto_class == CAUSAL_LM:
        return {"input_ids": ids, "labels": ids}
    if auto_class == QUESTION_ANSWERING:
        ends = {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([3, 4])}
        return {"input_ids": ids, **ends}
    return {"input_ids": ids, "labels": torch.tensor([0, 1])}


def step(model: nn.Module, batch: dict[str, Tensor]) -> None:
    """Update once; Adam moves each parameter by about its learning rate."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    model.train()(**batch).loss.backward()
    optimizer.step()


@torch.no_grad()
def outputs(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Any]:
    """Return the logits of the head in float32."""
    names = ("logits", "start_logits", "end_logits")
    said = model.eval()(**batch)
    return {name: said[name].float().numpy() for name in names if name in said}

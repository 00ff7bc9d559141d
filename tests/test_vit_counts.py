"""Parameters of ViT-B/16 under both readings of the paper's targets, counted without weights."""

from __future__ import annotations

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from goft_cli.adapters import attach_adapter, count_adapted_layers, count_parameters
from goft_cli.backbone import Backbone
from goft_cli.tasks.image_classification import ImageClassification
from tests.small import composed

# Published: Table 3 prints 0.018 and 0.073 million for GOFT and qGOFT (two linears per block), and
# 0.295 for LoRA of rank 8 on query and value. It prints 0.147 for OFT with blocks of 8, counting
# 8 * 8 parameters per block where PEFT trains 8 * 7 / 2.
COUNTS = {
    ("vit-b16", "goft"): 82_872,
    ("vit-b16", "qgoft"): 331_488,
    ("vit-b16-qv", "goft"): 18_408,
    ("vit-b16-qv", "qgoft"): 73_632,
    ("vit-b16-qv", "lora"): 294_912,
    ("vit-b16-qv", "oft"): 147_456 * 28 // 64,
}


@pytest.mark.parametrize("choice", COUNTS, ids=" ".join)
def test_the_adapter_has_as_many(choice: tuple[str, str]) -> None:
    model, adapter = choice
    cfg = composed([f"model={model}", f"adapter={adapter}"])
    with torch.device("meta"):
        backbone = ViTForImageClassification(ViTConfig())
        adapted = attach_adapter(
            Backbone(backbone, None, ""),
            cfg.adapter,
            cfg.model.head_modules,
            ImageClassification.auto_class,
            updates=1,
        )
    assert count_parameters(adapted, cfg.model.head_modules).adapter == COUNTS[choice]
    assert count_adapted_layers(adapted) == 12 * len(cfg.model.target_modules)

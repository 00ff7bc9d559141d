"""A vision model and an image folder, both small enough to train in a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, set_seed
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SIZE = 16


def write_vit(folder: Path, **changes: int) -> Path:
    """Save a vision transformer with random weights, and its processor."""
    set_seed(0)
    settings = {
        "image_size": SIZE,
        "patch_size": 4,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    } | changes
    config = ViTConfig(**settings)
    ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": settings["image_size"], "width": settings["image_size"]}
    ViTImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def write_images(folder: Path, splits: Mapping[str, int], classes: int = 10) -> Path:
    """Write images of noise, brighter from class to class, in the public folder layout."""
    random = np.random.default_rng(0)
    for split, count in splits.items():
        (folder / "images" / split).mkdir(parents=True)
        lines = []
        for index in range(count):
            label = index % classes
            noise = random.integers(0, 56, (20, 24, 3)) + label * 200 // classes
            name = f"images/{split}/{index:06d}.jpg"
            Image.fromarray(noise.astype(np.uint8)).save(folder / name)
            lines.append(f"{name} {label}\n")
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    return folder

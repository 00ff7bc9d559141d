"""A vision model and an image folder, both small enough to train in a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, set_seed
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SIZE = 16


def write_vit(folder: Path, config: ViTConfig | None = None) -> Path:
    """Save a vision transformer with random weights, two small blocks by default, and a processor.

    Args:
        folder: the folder to write.
        config: the configuration of a transformer for square images.
    """
    set_seed(0)
    config = config or ViTConfig(
        image_size=SIZE,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    side = cast(int, config.image_size)
    ViTImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    return folder


def write_images(folder: Path, splits: Mapping[str, int], classes: int = 10) -> Path:
    """Write images of noise, brighter from class to class, in the layout of public VTAB-1K."""
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

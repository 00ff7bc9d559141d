"""Measure the share of a ViT-B/16 training step that images take, decoded each time or cached.

python scripts/bench_images.py [--batch 8] [--rounds 5] [--adapter goft]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from goft_cli.config import GoftAdapterConfig, ImageClassificationConfig, Method
from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import Backbone
from goft_cli.tasks.image_classification import ImageClassification, pixels

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
PHOTO = (375, 500, 3)
"""Height, width and channels of a typical photograph of VTAB."""


def write_photos(folder: Path, count: int) -> None:
    """Write JPEG files of smooth noise that decode about as slowly as photographs, and a list."""
    random = np.random.default_rng(0)
    for index in range(count):
        coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((PHOTO[1], PHOTO[0]), Image.Resampling.BICUBIC)
        photo.save(folder / f"{index}.jpg")
    (folder / "train.txt").write_text("".join(f"{index}.jpg 0\n" for index in range(count)))


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the median milliseconds of a call, after one call that is not timed."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def training_step(adapter: str) -> Callable[[dict[str, Any]], None]:
    """Return a function that makes one training step of ViT-B/16 with random weights."""
    model = ViTForImageClassification(ViTConfig())
    config = GoftAdapterConfig(name=adapter, method=Method(adapter), target_modules=TARGETS)
    auto_class = ImageClassification.auto_class
    backbone = Backbone(model, None, "")
    adapted = attach_adapter(backbone, config, ["classifier"], auto_class, updates=1).train()
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-3)

    def step(batch: dict[str, Any]) -> None:
        adapted(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--adapter", choices=[method.value for method in Method], default="goft")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), options.batch)
        config = ImageClassificationConfig(name="bench", data_dir=folder, classes=10)
        task, processor = ImageClassification(config), ViTImageProcessorPil()
        rows = task.load_splits(["train"]).splits["train"]
        kept, collate = task.encode(rows, processor), task.collate(processor)
        pixels.KEPT_BYTES = 0
        decoded = task.encode(rows, processor)
        batch = collate(kept.__getitems__(range(options.batch)))
        step = training_step(options.adapter)
        step_ms = median_ms(lambda: step(batch), options.rounds)
        for name, images in {"decoded each time": decoded, "kept": kept}.items():
            fetch = lambda: collate(images.__getitems__(range(options.batch)))  # noqa: B023, E731
            fetch_ms = median_ms(fetch, options.rounds)
            share = fetch_ms / (fetch_ms + step_ms)
            per_image = fetch_ms / options.batch
            print(f"{name}: {per_image:.2f} ms per image, {share:.1%} of the step")
    print(f"step: {step_ms / options.batch:.1f} ms per image, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()

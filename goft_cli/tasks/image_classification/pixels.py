"""Pixels on the way to the model: decoded and resized once where they fit into memory.

What is kept is one byte per value; scaling and normalising are left to the batch, where they cost
next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from goft_cli.system.errors import GoftError

KEPT_BYTES = 2**29
"""A split up to this size is decoded once: 3,500 images of 224 x 224 pixels."""

Read = Callable[[str], np.ndarray]
"""Name of an image to its (3, height, width) bytes, at the model's size."""


def check_proportions(image: Image.Image, name: str, processor: Any) -> None:  # noqa: ANN401 - as below
    """Refuse a thin image whose long side, once the short one has the model's size, is enormous."""
    edge, most = processor.size.get("shortest_edge"), Image.MAX_IMAGE_PIXELS
    short, long = sorted(image.size)
    if edge and most and edge**2 * long / short > most:
        raise GoftError(
            f"{name}: found an image of {image.width} x {image.height} pixels, too thin to be "
            f"brought to {edge} pixels on its short side",
            "cut it",
        )


class Images(torch.utils.data.Dataset[dict[str, Any]]):
    """The images of one split, in the order of its rows.

    Decoding leaves Python's lock, so the threads that torch may use share it.
    """

    def __init__(self, names: Sequence[str], labels: Sequence[int] | None, read: Read) -> None:
        self.names, self.labels, self.read = names, labels, read
        self.kept: np.ndarray | None = None
        if len(names) * read(names[0]).nbytes <= KEPT_BYTES:
            self.kept = self._decoded(range(len(names)))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return `pixel_values`, and `labels` where there are any; torch asks for whole batches."""
        kept = self.kept
        pixels = self._decoded(indices) if kept is None else [kept[index] for index in indices]
        rows: list[dict[str, Any]] = [{"pixel_values": values} for values in pixels]
        if self.labels is not None:
            for row, index in zip(rows, indices, strict=True):
                row["labels"] = self.labels[index]
        return rows

    def _decoded(self, indices: Sequence[int]) -> np.ndarray:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return np.stack(list(pool.map(self.read, [self.names[index] for index in indices])))


@dataclass(frozen=True)
class ImageCollator:
    """Stacks bytes, then scales and normalises them as an image processor would."""

    processor: Any  # a BaseImageProcessor, whose class does not say what its objects hold

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return (rows, 3, height, width) float32 `pixel_values`, and (rows,) `labels`."""
        pixels = torch.from_numpy(np.stack([row["pixel_values"] for row in rows])).float()
        mean, std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        # (pixels * rescale_factor - mean) / std with fewer passes over the batch
        batch = {"pixel_values": pixels.mul_(self.processor.rescale_factor / std).sub_(mean / std)}
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        return batch

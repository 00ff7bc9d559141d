"""Reads image files into batches: RGB from any of Pillow's modes, at the model's size, normalised.

The decoded pixels are those of transformers' `load_image`, with which others will use the trained
model: EXIF's rotation is applied, the first of several frames is used, and the colour of a
transparent pixel too. They differ where Pillow would damage pixels: 16-bit grey is scaled to 8
bits, not clipped, and a TIFF with a rotation is decoded correctly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from goft_cli.data.sources import DIGITS, digit
from goft_cli.system.errors import GoftError

logger = logging.getLogger(__name__)

BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF, and the value of the second that stands for inverted grey."""
UNRELATED_FRAMES = {"MPO", "PSD"}
"""Formats whose first frame is the whole picture: the others are previews or layers."""
KEPT_BYTES = 2**29
"""Largest split, in bytes, that is decoded once: 3,500 images of 224 x 224 pixels."""

Read = Callable[[str], np.ndarray]
"""Reads an image by name as (3, height, width) bytes, at the model's size."""
_said: dict[tuple[Path, str], object] = {}


def open_image(name: str, folder: Path) -> Image.Image:
    """Decode one image to RGB; it is a path in `folder`, an absolute one, or a demo's row."""
    if name.rpartition("/")[0] == DIGITS:
        return digit(name).convert("RGB")
    path = folder / name
    try:
        # by its name, Pillow 12.2 maps an uncompressed TIFF into memory with height and width
        # exchanged before the rotation, and scrambles its pixels
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            if getattr(image, "is_animated", False) and image.format not in UNRELATED_FRAMES:
                warn_once(path.parent, "images with several frames: only the first is used")
            return upright(to_rgb(image, path))
    except (GoftError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GoftError(f"{path}: image too large ({error})", "save a smaller one") from error
    except Exception as error:  # damaged bytes may raise any error in Pillow
        raise GoftError(
            f"{path}: incomplete image ({error})", "copy it again, or save it as PNG or JPEG"
        ) from error


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Convert an image of any mode to RGB, its rotation left as it is."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        image = eight_bits(image)
    elif mode in {"I", "F"}:
        raise GoftError(
            f"{path}: found Pillow's mode {mode}, whose numbers have no fixed range for black and "
            "white",
            "save it as 8-bit or 16-bit grey, or as RGB",
        )
    elif mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            warn_once(
                path.parent,
                "images with transparent pixels: their hidden colour is used, as in transformers "
                "and torchvision; to avoid this, save them on a background",
            )
    return image.convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, or the 12 bits that some TIFFs have of it, to 8 bits, black on 0.

    Pillow's own conversion makes all values above 255 white, and ignores that a TIFF is inverted.
    """
    tags = getattr(image, "tag_v2", {})
    (bits,) = tags.get(BITS_PER_SAMPLE, (16,))
    values = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    grey = Image.fromarray(255 - values if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values)
    # the rotation is in there; a transparent grey is too, as 16 bits that 8 have no room for
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says."""
    try:
        return ImageOps.exif_transpose(image)
    except SyntaxError:  # not EXIF, so there is no rotation
        return image


def warn_once(folder: Path, sentence: str) -> None:
    """Log a warning about a folder's images once, from any thread."""
    mine = object()
    if _said.setdefault((folder, sentence), mine) is mine:
        logger.warning("%s: %s", folder, sentence)


def check_proportions(image: Image.Image, name: str, processor: Any) -> None:  # noqa: ANN401 - as below
    """Refuse a thin image: with the short side at the model's size the long one would be huge."""
    edge, most = processor.size.get("shortest_edge"), Image.MAX_IMAGE_PIXELS
    short, long = sorted(image.size)
    if edge and most and edge**2 * long / short > most:
        raise GoftError(
            f"{name}: found an image of {image.width} x {image.height} pixels, too thin to be "
            f"brought to {edge} pixels on its short side",
            "crop it",
        )


class Images(torch.utils.data.Dataset[dict[str, Any]]):
    """The images of one split, in the order of its rows.

    Decoding releases the GIL, so it uses as many threads as torch. If images have no labels (for
    predictions), unreadable ones are listed by index in `broken`, and replaced by black images.
    """

    def __init__(
        self, names: Sequence[str], labels: Sequence[int] | None, read: Read, black: np.ndarray
    ) -> None:
        self.names, self.labels, self.read = names, labels, read
        self.kept: np.ndarray | None = None
        self.broken: dict[int, GoftError] = {}
        self.black = black
        if len(names) * black.nbytes <= KEPT_BYTES:
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
            return np.stack(list(pool.map(self._pixels, indices)))

    def _pixels(self, index: int) -> np.ndarray:
        try:
            return self.read(self.names[index])
        except GoftError as error:
            if self.labels is not None:
                raise
            self.broken[index] = error
            return self.black


@dataclass(frozen=True)
class ImageCollator:
    """Stacks bytes, then scales and normalises them as an image processor would."""

    processor: Any  # a BaseImageProcessor, whose class does not say what its objects hold

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return (rows, 3, height, width) float32 `pixel_values`, and (rows,) `labels`."""
        pixels = torch.from_numpy(np.stack([row["pixel_values"] for row in rows])).float()
        own = self.processor
        factor = own.rescale_factor if own.do_rescale else 1.0
        values = (own.image_mean, own.image_std) if own.do_normalize else ([0.0] * 3, [1.0] * 3)
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in values)
        # (pixels * factor - mean) / std with fewer passes over the batch
        batch = {"pixel_values": pixels.mul_(factor / std).sub_(mean / std)}
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        return batch

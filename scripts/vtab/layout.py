"""Draw the splits from an original data set, and decode its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from goft_cli.system.errors import GoftError
from goft_cli.tasks.image_classification.pixels import open_image

TRAIN, VALIDATION = 800, 200


@dataclass(frozen=True)
class Example:
    """One image, as a file or as (height, width, 3) bytes, and its class."""

    image: Path | np.ndarray
    label: int


@dataclass(frozen=True)
class Pools:
    """The images of a data set by split; `validation` is empty if it has no such split."""

    train: Sequence[Example]
    test: Sequence[Example]
    validation: Sequence[Example] = ()


def draw(pools: Pools, seed: int) -> dict[str, list[Example]]:
    """Draw 800 and 200 images at random, without regard to classes, as VTAB does.

    Without validation images, the 200 come from the training images that are left.

    Raises:
        GoftError: there are not enough images.
    """
    random = np.random.default_rng(seed)
    shuffled = [pools.train[index] for index in random.permutation(len(pools.train))]
    others = [pools.validation[index] for index in random.permutation(len(pools.validation))]
    train, validation = shuffled[:TRAIN], (others or shuffled[TRAIN:])[:VALIDATION]
    if len(train) < TRAIN or len(validation) < VALIDATION:
        raise GoftError(
            f"found {len(train)} images to train on and {len(validation)} to validate on, "
            f"expected at least {TRAIN} and {VALIDATION}",
            "check that the source is complete",
        )
    return {"train800": train, "val200": validation, "test": list(pools.test)}


def as_image(source: Path | np.ndarray) -> Image.Image:
    """Return the image that a file or an array holds.

    Raises:
        GoftError: the file is missing or damaged.
    """
    if isinstance(source, Path):
        return open_image(source.name, source.parent)
    return Image.fromarray(source)

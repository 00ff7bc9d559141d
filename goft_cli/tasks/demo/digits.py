"""Handwritten digits from scikit-learn: 1,797 grey images of 8 x 8 pixels, no network needed.

tiny-vit was pretrained on the first thousand without their labels; the others are new to it.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from goft_cli.tasks.demo.splits import check_split

NAME = "demo:digits"
SPLITS = {"train": range(1000), "validation": range(1000, 1397), "test": range(1397, 1797)}
BRIGHTEST = 16


def generate(split: str) -> list[dict[str, str | int]]:
    """Return the rows of a split: `image`, a name that `image` understands, and `label`.

    Raises:
        GoftError: the split is unknown.
    """
    check_split("demo/digits", split, SPLITS)
    labels = _digits().target
    return [{"image": f"{NAME}/{index}", "label": int(labels[index])} for index in SPLITS[split]]


def image(name: str) -> Image.Image:
    """Return the grey image of a row, by its name."""
    pixels = _digits().images[int(name.rpartition("/")[2])]
    return Image.fromarray((pixels * (255 / BRIGHTEST)).astype(np.uint8))


@cache
def _digits() -> Bunch:
    return cast(Bunch, load_digits())

"""The demos' rows: files that `scripts/make_demo_rows.py` writes, and scikit-learn's digits.

The digits are 1,797 grey images of 8 x 8 pixels. tiny-vit was pretrained on the first thousand
without their labels; the others are new to it.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from goft_cli.system.errors import GoftError

if TYPE_CHECKING:
    from sklearn.utils import Bunch

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "demo"
DIGITS = "demo:digits"
DIGIT_SPLITS = {"train": range(1000), "validation": range(1000, 1397), "test": range(1397, 1797)}
BRIGHTEST = 16
SPLITS = ("train", "validation", "test")
DEMOS = {
    "demo:acceptability": SPLITS,
    DIGITS: tuple(DIGIT_SPLITS),
    "demo:choices": ("dev", "test"),
    "demo:chat": (),
    "demo:instructions": SPLITS,
    "demo:qa": SPLITS,
}
"""Splits of each demo, by the dataset id that stands for it; without any, all are the same."""


def read_demo(name: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of one of `DEMOS`."""
    if name not in DEMOS:
        raise GoftError(f"{name}: no such generator", f"there is {', '.join(DEMOS)}")
    known, folder = DEMOS[name], name.removeprefix("demo:")
    if known and split not in known:
        raise GoftError(f"demo/{folder}: unknown split {split!r}, expected {', '.join(known)}")
    if name == DIGITS:
        labels = _digits().target
        indices = DIGIT_SPLITS[split]
        return [{"image": f"{name}/{index}", "label": int(labels[index])} for index in indices]
    return read_rows(FOLDER / folder / f"{split if known else 'question'}.jsonl.gz")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows, each a line of JSON."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digit(name: str) -> Image.Image:
    """Return the grey image of a row of the digits, by its name."""
    pixels = _digits().images[int(name.rpartition("/")[2])]
    return Image.fromarray((pixels * (255 / BRIGHTEST)).astype(np.uint8))


@cache
def _digits() -> Bunch:
    from sklearn.datasets import load_digits  # slow to import, and for these rows alone

    return cast("Bunch", load_digits())

"""Which images become which split, and how the folder is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from goft_cli.errors import GoftError
from goft_cli.runs.run_folder import write_text
from goft_cli.tasks.image_classification.decoding import open_image
from goft_cli.tasks.image_classification.lists import DRAW

TRAIN, VALIDATION = 800, 200


@dataclass(frozen=True)
class Example:
    """One image, as a file or as (height, width, 3) bytes, and its class."""

    image: Path | np.ndarray
    label: int


@dataclass(frozen=True)
class Pools:
    """What a data set offers: images to train on, to validate on if it says which, and to test."""

    train: Sequence[Example]
    test: Sequence[Example]
    validation: Sequence[Example] = ()


def draw(pools: Pools, seed: int) -> dict[str, list[Example]]:
    """Draw 800 and 200 images at random, without regard to classes, as VTAB does.

    Without images to validate on, the 200 come from those to train on, too.

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
            "is the source complete?",
        )
    return {"train800": train, "val200": validation, "test": list(pools.test)}


def write(
    splits: Mapping[str, Sequence[Example]], folder: Path, note: Mapping[str, str | int]
) -> None:
    """Write images, then the lists, so that an interrupted folder is not taken for a whole one."""
    lists = {split: write_images(examples, folder, split) for split, examples in splits.items()}
    lists["train800val200"] = lists["train800"] + lists["val200"]
    write_text(folder / DRAW, json.dumps(note) + "\n")
    for split, lines in lists.items():
        write_text(folder / f"{split}.txt", "".join(f"{line}\n" for line in lines))


def write_images(examples: Sequence[Example], folder: Path, split: str) -> list[str]:
    """Write the images of one split, and return the lines of its list."""
    (folder / "images" / split).mkdir(parents=True)
    lines = []
    for number, example in enumerate(examples):
        name = f"images/{split}/{number:06d}.jpg"
        as_image(example.image).save(folder / name)
        lines.append(f"{name} {example.label}")
    return lines


def as_image(source: Path | np.ndarray) -> Image.Image:
    """Decode a file, or wrap an array.

    Raises:
        GoftError: the file is missing or damaged.
    """
    if isinstance(source, Path):
        return open_image(source.name, source.parent)
    return Image.fromarray(source)

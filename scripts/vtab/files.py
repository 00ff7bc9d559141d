"""Read data sets that store their images as files, with lists or scenes beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.vtab.arrays import parsing, read_bytes, read_matlab
from scripts.vtab.layout import Example, Pools

CLEVR_FEWEST = 3
# Depths at which one class of clevr_dist ends and the next begins.
CLEVR_DEPTHS = (8.0, 8.5, 9.0, 9.5, 10.0)


def dtd(source: Path) -> Pools:
    """Read the first of the ten published splits of DTD.

    Args:
        source: folder with `images` and `labels`.

    Raises:
        GoftError: a list is missing, or names a class without a folder.
    """
    classes = sorted(entry.name for entry in (source / "images").glob("*") if entry.is_dir())

    def read(split: str) -> list[Example]:
        path = source / "labels" / f"{split}1.txt"
        with parsing(path):
            return [
                Example(source / "images" / name, classes.index(name.partition("/")[0]))
                for name in read_lines(path)
            ]

    return Pools(train=read("train"), validation=read("val"), test=read("test"))


def flowers(source: Path) -> Pools:
    """Read Oxford Flowers 102.

    Args:
        source: folder with `jpg`, `imagelabels.mat` and `setid.mat`.

    Raises:
        GoftError: a file is missing or damaged.
    """
    with parsing(source / "imagelabels.mat"):
        labels = read_matlab(source / "imagelabels.mat")["labels"].ravel()

    def examples(numbers: np.ndarray) -> list[Example]:
        return [
            Example(source / "jpg" / f"image_{number:05d}.jpg", int(labels[number - 1]) - 1)
            for number in numbers.ravel()
        ]

    with parsing(source / "setid.mat"):
        splits = read_matlab(source / "setid.mat")
        return Pools(
            train=examples(splits["trnid"]),
            validation=examples(splits["valid"]),
            test=examples(splits["tstid"]),
        )


def pets(source: Path) -> Pools:
    """Read Oxford-IIIT Pets.

    Args:
        source: folder with `images` and `annotations`.

    Raises:
        GoftError: a list is missing or malformed.
    """

    def read(split: str) -> list[Example]:
        path = source / "annotations" / f"{split}.txt"
        with parsing(path):
            rows = [line.split() for line in read_lines(path)]
            return [
                Example(source / "images" / f"{name}.jpg", int(breed) - 1)
                for name, breed, *_ in rows
            ]

    return Pools(train=read("trainval"), test=read("test"))


def clevr_count(source: Path) -> Pools:
    """Read CLEVR; the class is the number of objects minus 3.

    Args:
        source: folder with `images` and `scenes`.

    Raises:
        GoftError: the scenes are missing or malformed.
    """
    return _clevr(source, lambda objects: len(objects) - CLEVR_FEWEST)


def clevr_dist(source: Path) -> Pools:
    """Read CLEVR; the class is the depth of the nearest object, in VTAB's six ranges.

    Args:
        source: folder with `images` and `scenes`.

    Raises:
        GoftError: the scenes are missing or malformed.
    """

    def step(objects: Sequence[dict[str, Any]]) -> int:
        nearest = min(item["pixel_coords"][2] for item in objects)
        return sum(depth < nearest for depth in CLEVR_DEPTHS)

    return _clevr(source, step)


def _clevr(source: Path, label: Callable[[Sequence[dict[str, Any]]], int]) -> Pools:
    """Read CLEVR; its test scenes are unpublished, so VTAB tests on its validation scenes."""

    def read(split: str) -> list[Example]:
        path, images = source / "scenes" / f"CLEVR_{split}_scenes.json", source / "images" / split
        with parsing(path):
            return [
                Example(images / scene["image_filename"], label(scene["objects"]))
                for scene in json.loads(read_bytes(path))["scenes"]
            ]

    return Pools(train=read("train"), test=read("val"))


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a list.

    Raises:
        GoftError: the list cannot be read.
    """
    return [line for line in read_bytes(path).decode().splitlines() if line.strip()]

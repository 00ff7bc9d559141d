"""Build VTAB-1K's public folder layout from the original data sets, without TensorFlow.

The published choice of 1,000 training images cannot be rebuilt: it follows the order in which
TensorFlow Datasets stores its copies. A folder built here holds another random draw, which
`draw.json` records, so its results are not comparable to the last digit. Test splits are the
official ones, and Pillow encodes the images as JPEG, as in the published folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from goft_cli.system.errors import GoftError
from goft_cli.verbs.reproduce.rehearsal import write_vtab
from scripts.vtab import arrays, files
from scripts.vtab.layout import Pools, as_image, draw

SOURCES: dict[str, Callable[[Path], Pools]] = {
    "cifar": arrays.cifar,
    "svhn": arrays.svhn,
    "dtd": files.dtd,
    "oxford_flowers102": files.flowers,
    "oxford_iiit_pet": files.pets,
    "clevr_count": files.clevr_count,
    "clevr_dist": files.clevr_dist,
}
"""Functions that read the unpacked original of a task."""

_ORDER = "its test images are a share of one set, in the order of TensorFlow Datasets"
PUBLISHED_ONLY = {
    "caltech101": "its test images are drawn at random by TensorFlow Datasets",
    "sun397": "its splits are lists of TensorFlow Datasets' own",
    "patch_camelyon": "its files are HDF5, which needs h5py",
    "eurosat": _ORDER,
    "resisc45": _ORDER,
    "diabetic_retinopathy": "its images are for registered users of Kaggle",
    "dmlab": "its images come as TFRecords, which need TensorFlow",
    "kitti": "its test drives are chosen by TensorFlow Datasets",
    "dsprites_loc": _ORDER,
    "dsprites_ori": _ORDER,
    "smallnorb_azi": _ORDER,
    "smallnorb_ele": _ORDER,
}
"""Reasons why a task cannot be built here; its published folder still works."""


def build(name: str, source: Path, output: Path, seed: int = 0) -> dict[str, int]:
    """Build the folder of one task.

    Args:
        name: name of the task, without `vtab/`.
        source: folder with the unpacked original.
        output: folder to create.
        seed: seed of the draw.

    Returns:
        Number of images by split.

    Raises:
        GoftError: the task cannot be built here, a file of the original is missing or damaged, or
            there is something in the output folder.
    """
    if name in PUBLISHED_ONLY:
        raise GoftError(
            f"vtab/{name} cannot be built here: {PUBLISHED_ONLY[name]}",
            "use the published folder",
        )
    if name not in SOURCES:
        raise GoftError(f"vtab/{name}: no such task", f"expected one of {', '.join(SOURCES)}")
    if output.exists() and any(output.iterdir()):
        raise GoftError(f"{output}: the folder is not empty", "delete it or choose another one")
    splits = draw(SOURCES[name](source), seed)
    pairs = {
        split: ((as_image(example.image), example.label) for example in examples)
        for split, examples in splits.items()
    }
    write_vtab(pairs, output, note={"task": name, "seed": seed})
    return {split: len(examples) for split, examples in splits.items()}

"""Image classification: one class per image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from datasets import Dataset
from PIL import Image
from scipy.special import softmax
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import PILImageResampling
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from goft_cli.config import ImageClassificationConfig, Transform
from goft_cli.config.choices import ClassWeights
from goft_cli.data.own_images import read_own_images
from goft_cli.data.sources import demo_splits
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.base import (
    Arrays,
    Collator,
    RowScorer,
    Split,
    Task,
    TaskData,
)
from goft_cli.tasks.classes import balanced_weights, by_class, class_options, described, majority
from goft_cli.tasks.image_classification.lists import (
    IMAGE,
    LABEL,
    checked_rows,
    read_lists,
    read_pictures,
    unlabelled_rows,
)
from goft_cli.tasks.image_classification.pixels import (
    ImageCollator,
    Images,
    check_proportions,
    open_image,
)

logger = logging.getLogger(__name__)

TRANSFORMS: dict[Transform, dict[str, Any]] = {
    Transform.model: {},
    Transform.imagenet: {
        "resample": PILImageResampling.BICUBIC,
        "image_mean": IMAGENET_DEFAULT_MEAN,
        "image_std": IMAGENET_DEFAULT_STD,
    },
}
"""Changes of each choice to the configuration of the model's image processor."""


def pixels_of(image: Image.Image, processor: Any) -> np.ndarray:  # noqa: ANN401 - an image processor
    """Return an RGB image as (3, height, width) bytes at the model's size."""
    return processor(images=image, do_rescale=False, do_normalize=False)["pixel_values"][0]


class ImageClassification(Task[ImageClassificationConfig, BaseImageProcessor]):
    """Images from a folder with a list per split, or from a demo of this package."""

    auto_class: ClassVar[str] = "AutoModelForImageClassification"
    processor_class: ClassVar[str] = "AutoImageProcessor"

    def __init__(self, config: ImageClassificationConfig) -> None:
        super().__init__(config)
        metrics.check_names(config.metrics, headline=config.headline, target=config.target)

    def fit_processor(self, processor: BaseImageProcessor) -> None:
        """Refuse a processor with a step that `ImageCollator` does not take."""
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        image, call = Image.fromarray(noise), cast("Callable[..., Any]", processor)
        expected = call(images=image, return_tensors="pt")["pixel_values"]
        pixels = pixels_of(image, processor)
        found = ImageCollator(processor)([{"pixel_values": pixels}])["pixel_values"]
        # bytes may be rounded when the image is resized
        allowed = float(expected.max() - expected.min()) / 100
        if found.shape != expected.shape or not found.allclose(expected, rtol=0, atol=allowed):
            raise GoftError(
                f"the image processor {type(processor).__name__} does more than resize, rescale "
                "and normalise",
                "choose another model",
            )

    def load(self) -> TaskData:
        """Read and check the rows, and log warnings about them."""
        data, config = super().load(), self.config
        if data.provenance.get("is_the_benchmark") is False:
            logger.warning("not the benchmark: the folder holds another selection of images")
        if config.eval_splits[0] == "test":
            logger.warning(
                "the test split picks the checkpoint: its score is the best of several "
                "evaluations, so it is higher than on new images"
            )
        seen = {label for rows in data.splits.values() for label in rows[LABEL]}
        absent = config.classes - len(seen)
        if absent:
            logger.warning("%d of the %d classes have no rows", absent, config.classes)
        return data

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read and check the named splits; images must exist, but are not decoded yet."""
        if self.config.own is not None:
            tables, provenance = read_own_images(self.config, self.config.own, names)
        elif self.config.data_dir is None:
            tables, provenance = demo_splits(self.config.generator or "", names)
        else:
            tables, provenance = read_lists(self._folder, names)
        named = bool(self.config.labels)
        splits = {
            name: checked_rows(table, self.config.names, named=named)
            for name, table in tables.items()
        }
        return TaskData(splits, provenance)

    @property
    def asked(self) -> Sequence[str]:
        """The path of an image."""
        return (IMAGE,)

    def read_table(self, path: Path) -> Table:
        """Read a table or a list of images, one image, or a folder of them."""
        return read_pictures(path)

    def unlabelled(self, table: Table) -> Dataset:
        """Return the paths, each of a file that is there; classes, if any, are left out."""
        return unlabelled_rows(table)

    def read_text(self, text: str) -> Dataset:
        """Refuse a text."""
        raise GoftError(
            f"task {self.config.name} takes images, found a text",
            "pass input=FILE, an image, a folder of images or a list with one path per line",
        )

    def encode(self, rows: Dataset, processor: BaseImageProcessor) -> Images:
        """Resize the images to the model's size: now, or one by one if there are too many."""
        labels = list(rows[LABEL]) if LABEL in rows.column_names else None
        black = pixels_of(Image.new("RGB", (32, 32)), processor)
        return Images(list(rows[IMAGE]), labels, partial(self._pixels, processor), black)

    def collate(self, processor: BaseImageProcessor) -> Collator:
        """Stack, scale and normalise."""
        return ImageCollator(processor)

    def score(self, outputs: Arrays, split: Split) -> dict[str, float]:
        """Compute the configured metrics of (rows, classes) logits."""
        predictions = np.asarray(outputs).argmax(axis=-1)
        return metrics.compute(self.config.metrics, predictions, np.asarray(split.rows[LABEL]))

    def row_scorer(self, outputs: Arrays, split: Split) -> RowScorer:
        """Return what computes the headline on some rows."""
        predictions = np.asarray(outputs).argmax(axis=-1)
        return metrics.on_rows(self.config.headline, predictions, np.asarray(split.rows[LABEL]))

    def by_class(self, outputs: Arrays, split: Split) -> dict[str, Any]:
        """Return scores and confusions of (rows, classes) logits."""
        predictions = np.asarray(outputs).argmax(axis=-1)
        return by_class(self.config.names, predictions, np.asarray(split.rows[LABEL]))

    def constant(self, train: Dataset, split: Split) -> tuple[str, Arrays]:
        """Return the most frequent class of the training rows."""
        most, outputs = majority(train[LABEL], self.config.classes, len(split.rows))
        return self.config.names[most], outputs

    def class_weights(self, train: Dataset) -> np.ndarray | None:
        """Return the (classes,) weights of the training rows' classes."""
        if self.config.class_weights is ClassWeights.none:
            return None
        return balanced_weights(train[LABEL], self.config.classes)

    def decode(self, outputs: Arrays, split: Split) -> list[dict[str, Any] | None]:
        """Return `{"label", "score"}` per row, with names for labels `probabilities` of all too."""
        probabilities = softmax(np.asarray(outputs, dtype=np.float64), axis=-1)
        names, broken = self.config.labels, getattr(split.inputs, "broken", {})
        found: list[dict[str, Any] | None] = [*described(probabilities, names)]
        for place in broken:
            found[place] = None
        for error in [*broken.values()][:1]:
            logger.warning("%s", error.problem)
        return found

    def model_options(self) -> dict[str, Any]:
        """Return config entries for a head of one output per class."""
        return class_options(self.config.names)

    def processor_options(self) -> dict[str, Any]:
        """Return what the transform changes; it is saved with the adapter."""
        # torchvision's own resizing, where it is installed, differs from Pillow's in some pixels.
        return {"backend": "pil", **TRANSFORMS[self.config.transform]}

    def _pixels(self, processor: BaseImageProcessor, name: str) -> np.ndarray:
        """Read one image as (3, height, width) bytes at the model's size."""
        image = open_image(name, self._folder)
        check_proportions(image, name, processor)
        return pixels_of(image, processor)

    @property
    def _folder(self) -> Path:
        return self.config.folder or Path()


__all__ = ["ImageClassification"]

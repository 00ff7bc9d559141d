"""The model gets the pixels that its image processor makes, kept in memory or not."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoImageProcessor, EfficientNetImageProcessor
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from goft_cli.config import ImageClassificationConfig, ModelConfig, Transform
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Split
from goft_cli.tasks.image_classification import ImageClassification, pixels
from tests.support.small_images import SIZE, write_images, write_vit

ROWS = 5
# The processor and goft both scale, subtract and divide, but they round in another order.
TOLERANCE = 8 * torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), {"train": ROWS})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    path = write_vit(tmp_path_factory.mktemp("vit"))
    return ModelConfig(
        name="vit", path=str(path), target_modules=["q_proj"], head_modules=["classifier"]
    )


@pytest.fixture
def task(folder: Path) -> ImageClassification:
    config = ImageClassificationConfig(name="made-up", data_dir=str(folder), classes=10)
    return ImageClassification(config)


def with_transform(
    task: ImageClassification, transform: Transform, model: ModelConfig
) -> tuple[ImageClassification, Backbone]:
    changed = ImageClassification(replace(task.config, transform=transform))
    return changed, load_backbone(model, changed)


@pytest.mark.parametrize("transform", list(Transform))
def test_a_batch_is_what_the_saved_processor_makes(
    transform: Transform,
    task: ImageClassification,
    model: ModelConfig,
    folder: Path,
    tmp_path: Path,
) -> None:
    task, backbone = with_transform(task, transform, model)
    rows = task.load_splits(["train"]).splits["train"]
    images = task.encode(rows, backbone.processor)
    batch = task.collate(backbone.processor)(images.__getitems__(range(ROWS)))
    backbone.processor.save_pretrained(tmp_path)
    saved = AutoImageProcessor.from_pretrained(tmp_path)
    expected = saved([Image.open(folder / name) for name in rows["image"]], return_tensors="pt")
    torch.testing.assert_close(
        batch["pixel_values"], expected["pixel_values"], rtol=TOLERANCE, atol=TOLERANCE
    )
    assert batch["labels"].tolist() == list(rows["label"])


def test_imagenets_transform_is_bicubic_with_its_mean(
    task: ImageClassification, model: ModelConfig, folder: Path
) -> None:
    task, backbone = with_transform(task, Transform.imagenet, model)
    rows = task.load_splits(["train"]).splits["train"].select([3])
    batch = task.collate(backbone.processor)([task.encode(rows, backbone.processor)[0]])
    with Image.open(folder / rows[0]["image"]) as image:
        resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    values = np.asarray(resized, dtype=np.float64) / 255
    expected = (values - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    found = batch["pixel_values"][0].permute(1, 2, 0).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_processor_file_of_the_papers_model_is_read(
    task: ImageClassification, model: ModelConfig, tmp_path: Path
) -> None:
    folder = shutil.copytree(model.path, tmp_path / "model")
    half = [0.5, 0.5, 0.5]  # ViT's file on the hub has no class, and one number for the size
    stated = {"do_normalize": True, "do_resize": True, "image_mean": half, "image_std": half}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**stated, "resample": 2, "size": SIZE})
    )
    _, backbone = with_transform(task, Transform.imagenet, replace(model, path=str(folder)))
    assert backbone.processor.resample == Image.Resampling.BICUBIC
    assert tuple(backbone.processor.image_mean) == tuple(IMAGENET_DEFAULT_MEAN)
    assert (backbone.processor.size["height"], backbone.processor.size["width"]) == (SIZE, SIZE)


@pytest.mark.parametrize("switch", ["do_normalize", "do_rescale"])
def test_a_processor_that_skips_a_step_is_followed(
    task: ImageClassification, model: ModelConfig, folder: Path, switch: str
) -> None:
    processor: Any = load_backbone(model, task).processor
    setattr(processor, switch, False)
    rows = task.load_splits(["train"]).splits["train"]
    batch = task.collate(processor)(task.encode(rows, processor).__getitems__([0]))
    with Image.open(folder / rows[0]["image"]) as image:
        expected = processor([image], return_tensors="pt")["pixel_values"]
    scale = float(expected.abs().max())
    torch.testing.assert_close(batch["pixel_values"], expected, rtol=0, atol=scale * TOLERANCE)


def test_a_processor_with_another_step_is_refused(
    task: ImageClassification, model: ModelConfig, tmp_path: Path
) -> None:
    folder = shutil.copytree(model.path, tmp_path / "model")
    size = {"height": SIZE, "width": SIZE}
    other = EfficientNetImageProcessor(size=size, crop_size=size, rescale_offset=True)
    other.save_pretrained(folder)
    with pytest.raises(GoftError, match="EfficientNetImageProcessor"):
        load_backbone(replace(model, path=str(folder)), task)


def test_large_splits_are_decoded_when_asked_for(
    task: ImageClassification, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = task.load_splits(["train"]).splits["train"]
    processor = load_backbone(model, task).processor
    kept = task.encode(rows, processor)
    monkeypatch.setattr(pixels, "KEPT_BYTES", 3 * SIZE * SIZE * ROWS - 1)
    asked_for = task.encode(rows, processor)
    assert kept.kept is not None
    assert asked_for.kept is None
    for index in range(ROWS):
        one, other = kept[index], asked_for[index]
        assert np.array_equal(one["pixel_values"], other["pixel_values"])
        assert one["labels"] == other["labels"]
    assert kept[0]["pixel_values"].dtype == np.uint8


def test_images_can_be_sent_to_worker_processes(
    task: ImageClassification, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "KEPT_BYTES", 0)
    processor = load_backbone(model, task).processor
    images = task.encode(task.load_splits(["train"]).splits["train"], processor)
    again = pickle.loads(pickle.dumps(images))  # as it reaches a worker that is not forked
    for index in range(ROWS):
        assert np.array_equal(again[index]["pixel_values"], images[index]["pixel_values"])


def test_a_loader_asks_for_whole_batches(
    task: ImageClassification, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "KEPT_BYTES", 0)
    processor = load_backbone(model, task).processor
    images = task.encode(task.load_splits(["train"]).splits["train"], processor)
    asked: list[int] = []
    real = images._decoded
    monkeypatch.setattr(images, "_decoded", lambda some: asked.append(len(some)) or real(some))
    collate = task.collate(processor)
    loader = torch.utils.data.DataLoader(images, batch_size=3, collate_fn=collate)
    assert [len(batch["labels"]) for batch in loader] == [3, 2]
    assert asked == [3, 2]


def test_a_damaged_image_is_named(
    task: ImageClassification, model: ModelConfig, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "images", {"train": 3})
    broken = folder / "images/train/000001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    task = ImageClassification(replace(task.config, data_dir=str(folder)))
    rows = task.load_splits(["train"]).splits["train"]
    with pytest.raises(GoftError, match=r"train/000001\.jpg"):
        task.encode(rows, load_backbone(model, task).processor)


def test_rows_without_classes_make_batches_without_labels(
    task: ImageClassification, model: ModelConfig, folder: Path
) -> None:
    processor = load_backbone(model, task).processor
    images = task.encode(task.read(folder / "images/train/000000.jpg"), processor)
    assert set(task.collate(processor)([images[0]])) == {"pixel_values"}


def test_scoring_and_decoding(task: ImageClassification) -> None:
    rows = Dataset.from_dict({"image": ["a", "b", "c"], "label": [1, 0, 1]})
    logits = np.array([[0.0, 0.0], [3.0, 1.0], [0.0, np.log(3.0)]])
    split = Split(rows, rows)
    assert task.score(logits, split) == {"accuracy": pytest.approx(2 / 3)}
    decoded = task.decode(logits, split)
    assert [row["label"] for row in decoded if row] == [0, 0, 1]
    assert decoded[2] is not None
    assert decoded[2]["score"] == pytest.approx(0.75)

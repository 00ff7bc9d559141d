"""Rotated, animated and very thin images are decoded; damaged and enormous ones are refused."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from goft_cli.config import ImageClassificationConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.image_classification import ImageClassification
from goft_cli.tasks.image_classification.pixels import open_image
from tests.support.small_images import SIZE

Array = np.ndarray
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
ORIENTATION = 0x112
UPRIGHT: dict[int, Callable[[Array], Array]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""The rotation or reflection for each number of EXIF's orientation."""
WAYS: list[tuple[str, str, dict[str, Any]]] = [
    ("RGB", "png", {}),
    ("RGB", "tiff", {}),
    ("L", "tiff", {}),
    ("I;16", "tiff", {}),
    ("CMYK", "tiff", {}),
    ("L", "tiff", {"compression": "tiff_lzw"}),
    ("I;16", "png", {}),
    ("P", "png", {}),
    ("LA", "png", {}),
    ("RGB", "webp", {"lossless": True}),
    ("RGB", "jpeg", {}),
    ("CMYK", "jpeg", {}),
]


def image_of(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(COLOUR[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(COLOUR).convert(mode)


@pytest.mark.parametrize(("mode", "suffix", "options"), WAYS)
def test_an_image_is_turned_as_its_camera_was(
    mode: str, suffix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    exif = Image.Exif()
    image_of(mode).save(tmp_path / f"stored.{suffix}", **options)
    stored = np.asarray(open_image(f"stored.{suffix}", tmp_path))
    for orientation, upright in UPRIGHT.items():
        exif[ORIENTATION] = orientation
        image_of(mode).save(tmp_path / f"turned.{suffix}", exif=exif, **options)
        found = np.asarray(open_image(f"turned.{suffix}", tmp_path))
        np.testing.assert_array_equal(found, upright(stored), f"orientation {orientation}")


def test_what_is_no_exif_turns_nothing(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "odd.png", exif=b"Exif\0\0garbage")
    np.testing.assert_array_equal(np.asarray(open_image("odd.png", tmp_path)), COLOUR)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_the_first_frame_counts_and_that_is_said_once(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    red, green = (Image.new("RGB", (6, 4), colour) for colour in ("#f00", "#0f0"))
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    red.save(tmp_path / f"film.{suffix}", save_all=True, append_images=[green], **options)
    with Image.open(tmp_path / f"film.{suffix}") as film:
        assert len(list(ImageSequence.Iterator(film))) == 2
    for _ in range(2):
        found = np.asarray(open_image(f"film.{suffix}", tmp_path))
        np.testing.assert_array_equal(found, np.asarray(red))
    (message,) = caplog.messages
    assert str(tmp_path) in message


def test_a_cameras_preview_is_no_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo = Image.new("RGB", (8, 8), "#fff")
    photo.save(tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=[photo])
    with Image.open(tmp_path / "photo.jpg") as opened:
        assert opened.format == "MPO"
    open_image("photo.jpg", tmp_path)
    assert not caplog.messages


@pytest.mark.parametrize(("alpha", "warnings"), [(255, 0), (254, 1)])
def test_transparent_pixels_are_said_once(
    alpha: int, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGBA", (3, 3), (9, 8, 7, alpha)).save(tmp_path / name)
        assert open_image(name, tmp_path).getpixel((0, 0)) == (9, 8, 7)
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == warnings


@pytest.mark.parametrize("most", [17, 34])
def test_more_pixels_than_pillow_likes(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow raises an error above twice its limit and warns above it; goft refuses both."""
    Image.fromarray(COLOUR).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    with pytest.raises(GoftError, match=r"vast\.png: .*35 pixels"):
        open_image("vast.png", tmp_path)


SUFFIXES = ["png", "jpeg", "tiff", "gif", "bmp", "webp"]


def encoded(suffix: str) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {} if suffix in {"gif", "bmp"} else {"exif": exif}
    Image.fromarray(COLOUR.repeat(4, 0).repeat(4, 1)).save(buffer, suffix, **options)
    return buffer.getvalue()


ENCODED = {suffix: encoded(suffix) for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def answer(path: Path) -> Image.Image | str:
    """Return the image, or the sentence that refuses it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 2**16)  # a damaged header asks for gigabytes
        try:
            return open_image(path.name, path.parent)
        except GoftError as error:
            return str(error)


@given(suffix=st.sampled_from(SUFFIXES), data=st.data())
def test_damage_is_refused_by_name_or_does_no_harm(
    suffix: str, data: st.DataObject, folder: Path
) -> None:
    whole = ENCODED[suffix]
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)), label="kept")])
    if damaged:
        position = data.draw(st.integers(0, len(damaged) - 1), label="position")
        damaged[position] ^= data.draw(st.integers(0, 255), label="bits")
    (folder / f"damaged.{suffix}").write_bytes(damaged)
    found = answer(folder / f"damaged.{suffix}")
    if isinstance(found, str):
        assert f"damaged.{suffix}" in found
    else:
        assert found.mode == "RGB"
        assert min(found.size) > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = ENCODED[suffix]
    for kept in range(0, len(whole) * 9 // 10, max(1, len(whole) // 40)):
        (tmp_path / "cut").write_bytes(whole[:kept])
        with pytest.raises(GoftError, match="cut: incomplete image"):
            open_image("cut", tmp_path)


@pytest.fixture
def task() -> ImageClassification:
    return ImageClassification(ImageClassificationConfig(name="mine", classes=2))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 5), (5, 3), (4, 1), (20000, 2)])
def test_thin_images_are_stretched(
    size: tuple[int, int], task: ImageClassification, tmp_path: Path
) -> None:
    """Arrays of one or three rows must not be taken for channels-first images."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "thin.png")
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    found = task.encode(task.read(tmp_path / "thin.png"), processor)[0]["pixel_values"]
    expected = np.asarray(image.resize((SIZE, SIZE), Image.Resampling(processor.resample)))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), expected)


def test_what_would_fill_the_memory_is_refused(task: ImageClassification, tmp_path: Path) -> None:
    Image.new("RGB", (2, 100_000)).save(tmp_path / "line.png")  # 10 GB at 256 x 12,800,000 pixels
    processor = BitImageProcessorPil(size={"shortest_edge": 256})
    images = task.encode(task.read(tmp_path / "line.png"), processor)
    assert re.search(r"line\.png: .* 2 x 100000", str(images.broken[0]))


KINDS = {"one.bmp": "bmp", "one.webp": "webp", "one.GIF": "gif", "one.tif": "tiff", "one": "png"}


@pytest.mark.parametrize("name", [*KINDS, "one.txt.png"])
def test_any_ending_may_stand_in_a_list(
    name: str, task: ImageClassification, tmp_path: Path
) -> None:
    image = Image.new("RGB", (SIZE, SIZE), "#fff")
    image.save(tmp_path / name, format=KINDS.get(name, "png"))
    (tmp_path / "LIST.TXT").write_text(f"{name} 1\n")
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    for path in (tmp_path / name, tmp_path / "LIST.TXT"):
        assert (task.encode(task.read(path), processor)[0]["pixel_values"] == 255).all()

"""Check the RGB pixels that each of Pillow's modes decodes to, with formulas of our own."""

from __future__ import annotations

import colorsys
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goft_cli.system.errors import GoftError
from goft_cli.tasks.image_classification.pixels import open_image, to_rgb

Array = np.ndarray
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 4, (5, 7), dtype=np.uint8) * 85
WORDS = RANDOM.integers(0, 2**16, (5, 7), dtype=np.uint16)
PALETTE = RANDOM.integers(0, 256, (16, 3), dtype=np.uint8)
INDEX = RANDOM.integers(0, 16, (5, 7), dtype=np.uint8)
LOSSLESS = {"webp": {"lossless": True, "exact": True}}
ROUNDING = 1.5
"""Allowed difference: Pillow converts in rounded fixed-point arithmetic, our formulas do not."""
TRANSPARENT = 3


def thrice(grey: Array) -> Array:
    """Return grey pixels (h, w) as RGB (h, w, 3)."""
    return np.stack([grey] * 3, axis=-1)


def saved(image: Image.Image, folder: Path, suffix: str, **options: object) -> Array:
    """Write an image, and decode it."""
    image.save(folder / f"image.{suffix}", **{**LOSSLESS.get(suffix, {}), **options})
    return np.asarray(open_image(f"image.{suffix}", folder))


def converted(image: Image.Image) -> Array:
    """Convert an image in memory to RGB."""
    return np.asarray(to_rgb(image, Path("memory")))


def in_palette() -> Image.Image:
    image = Image.fromarray(INDEX)
    image.putpalette(PALETTE.tobytes())
    assert image.mode == "P"
    return image


def with_alpha(pixels: Array, alpha: Array = ALPHA) -> Image.Image:
    return Image.fromarray(np.dstack([pixels, alpha]))


EXACT: dict[str, tuple[Callable[[], Image.Image], Array, str]] = {
    "1": (
        lambda: Image.fromarray(GREY > 99),
        thrice((GREY > 99) * np.uint8(255)),
        "png tiff bmp gif",
    ),
    "L": (lambda: Image.fromarray(GREY), thrice(GREY), "png tiff bmp gif webp jp2"),
    "LA": (lambda: with_alpha(GREY), thrice(GREY), "png tiff webp"),
    "P": (in_palette, PALETTE[INDEX], "png tiff bmp gif webp"),
    "PA": (lambda: in_palette().convert("PA"), PALETTE[INDEX], "tiff webp"),
    "RGB": (lambda: Image.fromarray(COLOUR), COLOUR, "png tiff bmp webp jp2"),
    "RGBA": (lambda: with_alpha(COLOUR), COLOUR, "png tiff webp"),
    "I;16": (lambda: Image.fromarray(WORDS), thrice(WORDS // 256), "png tiff jp2"),
    "I;16B": (
        lambda: Image.frombytes("I;16B", (7, 5), WORDS.astype(">u2").tobytes()),
        thrice(WORDS // 256),
        "png tiff",
    ),
    "I;16L": (
        lambda: Image.frombytes("I;16L", (7, 5), WORDS.astype("<u2").tobytes()),
        thrice(WORDS // 256),
        "tiff",
    ),
    "I;16N": (
        lambda: Image.frombytes("I;16N", (7, 5), WORDS.tobytes()),
        thrice(WORDS // 256),
        "",
    ),
}


@pytest.mark.parametrize(
    ("mode", "suffix"), [(mode, s) for mode, case in EXACT.items() for s in case[2].split()]
)
def test_a_file_gives_its_pixels(mode: str, suffix: str, tmp_path: Path) -> None:
    image, expected, _ = EXACT[mode]
    options = {"irreversible": False} if suffix == "jp2" else {}
    np.testing.assert_array_equal(saved(image(), tmp_path, suffix, **options), expected)


@pytest.mark.parametrize("mode", EXACT)
def test_an_image_gives_its_pixels(mode: str) -> None:
    image, expected, _ = EXACT[mode]
    assert image().mode == mode
    np.testing.assert_array_equal(converted(image()), expected)


@pytest.mark.parametrize("transparency", [TRANSPARENT, bytes([0, 128] * 8)])
def test_a_palette_with_transparency_shows_its_colours(
    transparency: int | bytes, tmp_path: Path
) -> None:
    found = saved(in_palette(), tmp_path, "png", transparency=transparency)
    np.testing.assert_array_equal(found, PALETTE[INDEX])


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [
        (Image.fromarray(COLOUR), tuple(COLOUR[0, 0].tolist()), COLOUR),
        (Image.fromarray(GREY), int(GREY[0, 0]), thrice(GREY)),
        (Image.fromarray(WORDS), int(WORDS[0, 0]), thrice(WORDS // 256)),
    ],
    ids=["RGB", "L", "I;16"],
)
def test_a_transparent_colour_is_that_colour(
    image: Image.Image, key: object, expected: Array, tmp_path: Path
) -> None:
    np.testing.assert_array_equal(saved(image, tmp_path, "png", transparency=key), expected)


@pytest.mark.parametrize("premultiplied", ["La", "RGBa"])
def test_premultiplied_colour_is_divided_by_its_alpha(premultiplied: str) -> None:
    pixels = GREY if premultiplied == "La" else COLOUR
    alpha = ALPHA | 128
    image = with_alpha(pixels, alpha).convert(premultiplied)
    expected = thrice(GREY) if premultiplied == "La" else COLOUR
    # the rounding error of a stored value is multiplied by 255 / alpha, and rounded again
    tolerance = (255 / alpha / 2 + ROUNDING)[..., None]
    assert (np.abs(converted(image) - expected.astype(float)) <= tolerance).all()


def from_cmyk(inks: Array) -> Array:
    cyan_magenta_yellow, black = inks[..., :3].astype(float), inks[..., 3:].astype(float)
    return (255 - cyan_magenta_yellow) * (255 - black) / 255


def from_ycbcr(values: Array) -> Array:
    """Convert YCbCr to RGB as JFIF does."""
    light, blue, red = np.moveaxis(values.astype(float), -1, 0)
    blue, red = blue - 128, red - 128
    green = light - 0.344136 * blue - 0.714136 * red
    return np.stack([light + 1.402 * red, green, light + 1.772 * blue], -1).clip(0, 255)


def from_hsv(values: Array) -> Array:
    rows = [[colorsys.hsv_to_rgb(*pixel) for pixel in row] for row in values / 255]
    return 255 * np.array(rows)


def from_lab(values: Array) -> Array:
    """Convert CIE 1976 Lab under D50 to D65 by Bradford's matrix, then by sRGB's curve."""
    lightness, a, b = np.moveaxis(values.astype(float), -1, 0)
    middle = (lightness / 2.55 + 16) / 116
    roots = np.stack([middle + (a - 128) / 500, middle, middle - (b - 128) / 200], -1)
    linear = np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) * 3 * (6 / 29) ** 2)
    xyz = linear * [0.9642, 1.0, 0.8249]
    matrix = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    light = (xyz @ matrix.T).clip(0, 1)
    curved = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return 255 * curved


@pytest.mark.parametrize(
    ("mode", "formula", "suffix"),
    [
        ("CMYK", from_cmyk, "tiff"),
        ("CMYK", from_cmyk, ""),
        ("YCbCr", from_ycbcr, ""),
        ("HSV", from_hsv, ""),
    ],
)
def test_other_colours_by_their_formulas(
    mode: str, formula: Callable[[Array], Array], suffix: str, tmp_path: Path
) -> None:
    bands = RANDOM.integers(0, 256, (5, 7, len(Image.new(mode, (1, 1)).getbands())), dtype=np.uint8)
    image = Image.frombytes(mode, (7, 5), bands.tobytes())
    found = saved(image, tmp_path, suffix) if suffix else converted(image)
    np.testing.assert_allclose(found, formula(bands), atol=ROUNDING)


def test_lab_is_that_of_a_printer(tmp_path: Path) -> None:
    lightness = np.linspace(40, 230, 35).round().reshape(5, 7)
    bands = np.stack([lightness, *RANDOM.integers(112, 145, (2, 5, 7))], -1).astype(np.uint8)
    image = Image.merge("LAB", [Image.fromarray(band) for band in np.moveaxis(bands, -1, 0)])
    for found in (converted(image), saved(image, tmp_path, "tiff")):
        # lightness has steps of 1/255, and the colour profile has a table of 16 bits
        np.testing.assert_allclose(found, from_lab(bands), atol=2 * ROUNDING)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGB", (200, 60, 20)), ("L", 77), ("CMYK", (10, 200, 60, 40))]
)
def test_a_jpeg_of_one_colour(mode: str, colour: object, tmp_path: Path) -> None:
    image = Image.new(mode, (16, 16), colour)  # pyright: ignore[reportArgumentType] - as the mode
    expected = {"L": thrice, "RGB": np.asarray, "CMYK": from_cmyk}[mode](np.asarray(image))
    found = saved(image, tmp_path, "jpeg", quality=100, subsampling=0)
    np.testing.assert_allclose(found, expected, atol=2 * ROUNDING)  # to YCbCr and back


@pytest.mark.parametrize(("highest", "bits"), [(65535, 16), (4095, 12), (300, 9)])
def test_a_portable_map_is_scaled_by_its_own_highest(
    highest: int, bits: int, tmp_path: Path
) -> None:
    values = np.array([[0, highest // 3, highest]], dtype=">u2")
    (tmp_path / "map.pgm").write_bytes(b"P5\n3 1\n%d\n" % highest + values.tobytes())
    found = np.asarray(open_image("map.pgm", tmp_path))
    expected = thrice(255 * values.astype(float) / highest)
    np.testing.assert_allclose(found, expected, atol=1)  # rounded down


def write_tiff(
    path: Path, values: Array, *, bits: int, photometric: int = 1, kind: int = 1
) -> None:
    """Write a grey image of any bit depth in one strip; Pillow writes few of these layouts."""
    height, width = values.shape
    if bits == 12:
        digits = "".join(f"{value:03x}" for value in values.flat)
        data = bytes.fromhex(digits + "0" * (len(digits) % 2))
    else:
        data = values.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric}
    tags |= {273: 8, 277: 1, 278: height, 279: len(data), 339: kind}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def test_twelve_bits_are_not_taken_for_sixteen(tmp_path: Path) -> None:
    values = WORDS[:4, :6] % 4096
    write_tiff(tmp_path / "twelve.tif", values, bits=12)
    found = np.asarray(open_image("twelve.tif", tmp_path))
    np.testing.assert_array_equal(found, thrice(values // 16))


def test_white_may_be_zero(tmp_path: Path) -> None:
    write_tiff(tmp_path / "film.tif", WORDS, bits=16, photometric=0)
    found = np.asarray(open_image("film.tif", tmp_path))
    np.testing.assert_array_equal(found, thrice(255 - WORDS // 256))


@pytest.mark.parametrize(
    ("dtype", "kind", "mode"),
    [("<u4", 1, "I"), ("<i4", 2, "I"), ("<i2", 2, "I"), ("<f4", 3, "F")],
)
def test_numbers_without_a_range_are_refused(
    dtype: str, kind: int, mode: str, tmp_path: Path
) -> None:
    values = GREY.astype(dtype)
    write_tiff(tmp_path / "numbers.tif", values, bits=8 * values.itemsize, kind=kind)
    with pytest.raises(GoftError, match=rf"numbers\.tif: .* mode {mode}\b"):
        open_image("numbers.tif", tmp_path)

"""Draw images for the vision pretraining: generated shapes, strokes, textures; real digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from sklearn.utils import Bunch
from torch import Tensor

SIZE = 32
# Number of digits for pretraining, the first in scikit-learn's order; evaluation uses the others.
DIGITS = 1000

Generator = np.random.Generator
Colour = tuple[int, int, int]


def generated(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images of the kinds in `PAINTERS`.

    Returns:
        (count, 3, 32, 32) uint8 images and their (count,) kinds.
    """
    random = np.random.default_rng(seed)
    kinds = random.integers(len(PAINTERS), size=count)
    images = np.stack([_painted(PAINTERS[kind], random) for kind in kinds])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(kinds)


def digits(count: int, seed: int) -> Tensor:
    """Draw real digits, moved, scaled and coloured at random.

    Returns:
        (count, 3, 32, 32) uint8 images.
    """
    random = np.random.default_rng(seed)
    source = (cast(Bunch, load_digits()).images[:DIGITS] * (255 / 16)).astype(np.uint8)
    images = np.stack([_placed(source[random.integers(DIGITS)], random) for _ in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _placed(digit: np.ndarray, random: Generator) -> np.ndarray:
    """Paste an (8, 8) digit onto a canvas; half of them grey on black, as in the data set."""
    side = int(random.integers(24, SIZE + 1))
    left, top = (int(random.integers(SIZE - side + 1)) for _ in range(2))
    mask = Image.new("L", (SIZE, SIZE))
    resized = Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR)
    mask.paste(resized, (left, top))
    plain = random.random() < 0.5
    ground, ink = ((0, 0, 0), (255, 255, 255)) if plain else (_colour(random), _colour(random))
    canvas = Image.new("RGB", (SIZE, SIZE), ground)
    canvas.paste(ink, (0, 0), mask)
    return np.asarray(canvas)


def _painted(painter: Callable[..., None], random: Generator) -> np.ndarray:
    canvas = Image.new("RGB", (SIZE, SIZE), _colour(random))
    painter(ImageDraw.Draw(canvas), random, _colour(random))
    noise = random.normal(0, 4, (SIZE, SIZE, 3))
    return np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8)


def _colour(random: Generator) -> Colour:
    red, green, blue = random.integers(256, size=3).tolist()
    return red, green, blue


def _points(random: Generator, count: int) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in random.integers(2, SIZE - 2, size=(count, 2))]


def _box(random: Generator) -> tuple[int, int, int, int]:
    width, height = random.integers(8, 24, size=2).tolist()
    left, top = int(random.integers(SIZE - width)), int(random.integers(SIZE - height))
    return left, top, left + width, top + height


def _disc(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    draw.ellipse(_box(random), fill=colour)


def _ring(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    draw.ellipse(_box(random), outline=colour, width=int(random.integers(2, 5)))


def _rectangle(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    draw.rectangle(_box(random), fill=colour)


def _triangle(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    draw.polygon(_points(random, 3), fill=colour)


def _zigzag(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    count, width = random.integers((3, 2), (6, 5)).tolist()
    draw.line(_points(random, count), fill=colour, width=width, joint="curve")


def _arc(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    start, sweep = int(random.integers(360)), int(random.integers(90, 270))
    draw.arc(_box(random), start, start + sweep, fill=colour, width=int(random.integers(2, 5)))


def _stripes(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    period, slant = int(random.integers(4, 9)), int(random.integers(-SIZE, SIZE + 1))
    for x in range(-SIZE, 2 * SIZE, period):
        draw.line((x, 0, x + slant, SIZE), fill=colour, width=period // 2)


def _checks(draw: ImageDraw.ImageDraw, random: Generator, colour: Colour) -> None:
    cell = int(random.integers(3, 9))
    for x in range(0, SIZE, cell):
        for y in range((x // cell) % 2 * cell, SIZE, 2 * cell):
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=colour)


PAINTERS = (_disc, _ring, _rectangle, _triangle, _zigzag, _arc, _stripes, _checks)

"""The demo datasets have fixed splits, and the digits are scikit-learn's images."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from goft_cli.data.sources import DEMOS, DIGIT_SPLITS, DIGITS, digit, read_demo
from goft_cli.system.errors import GoftError


def test_every_digit_is_in_one_split() -> None:
    rows = [row for split in DIGIT_SPLITS for row in read_demo(DIGITS, split)]
    data = cast(Bunch, load_digits())
    assert [row["label"] for row in rows] == data.target.tolist()
    assert len({row["image"] for row in rows}) == len(rows)


def test_the_training_images_are_those_of_the_pretraining() -> None:
    assert len(read_demo(DIGITS, "train")) == 1000  # as images.DIGITS in scripts/tiny_models


@pytest.mark.parametrize("split", DIGIT_SPLITS)
def test_every_class_is_in_every_split(split: str) -> None:
    assert {row["label"] for row in read_demo(DIGITS, split)} == set(range(10))


def test_an_image_is_the_digit_of_its_name() -> None:
    row = read_demo(DIGITS, "validation")[7]
    pixels = np.asarray(digit(row["image"]), dtype=float)
    expected = cast(Bunch, load_digits()).images[1007] * (255 / 16)
    np.testing.assert_allclose(pixels, expected, atol=1)


def test_the_questions_of_the_chat_are_the_same_in_every_split() -> None:
    assert read_demo("demo:chat", "question") == read_demo("demo:chat", "mine") != []


@pytest.mark.parametrize("name", [name for name, splits in DEMOS.items() if splits])
def test_an_unknown_split(name: str) -> None:
    found = f"{name.replace(':', '/')}: unknown split 'mine', expected {', '.join(DEMOS[name])}"
    with pytest.raises(GoftError, match=found):
        read_demo(name, "mine")

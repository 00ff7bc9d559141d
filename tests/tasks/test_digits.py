"""The demo's digits: fixed splits that do not touch, and images that are scikit-learn's."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from goft_cli.errors import GoftError
from goft_cli.tasks.demo import digits


def test_every_digit_is_in_one_split() -> None:
    rows = [row for split in digits.SPLITS for row in digits.generate(split)]
    data = cast(Bunch, load_digits())
    assert [row["label"] for row in rows] == data.target.tolist()
    assert len({row["image"] for row in rows}) == len(rows)


def test_the_training_images_are_those_of_the_pretraining() -> None:
    assert len(digits.generate("train")) == 1000  # images.DIGITS in scripts/tiny_models


@pytest.mark.parametrize("split", digits.SPLITS)
def test_every_class_is_in_every_split(split: str) -> None:
    assert {row["label"] for row in digits.generate(split)} == set(range(10))


def test_an_image_is_the_digit_of_its_name() -> None:
    row = digits.generate("validation")[7]
    pixels = np.asarray(digits.image(str(row["image"])), dtype=float)
    expected = cast(Bunch, load_digits()).images[1007] * (255 / 16)
    np.testing.assert_allclose(pixels, expected, atol=1)


def test_an_unknown_split() -> None:
    with pytest.raises(GoftError, match=r"'dev'.*train, validation, test"):
        digits.generate("dev")

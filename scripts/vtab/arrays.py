"""Read data sets that store their images as arrays of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from goft_cli.system.errors import GoftError
from goft_cli.system.files import refuse_no_file
from scripts.vtab.layout import Example, Pools

CIFAR_RECORD = 2 + 3 * 32 * 32


def cifar(source: Path) -> Pools:
    """Read the binary version of CIFAR-100; the Python version is a pickle, which is not opened.

    Args:
        source: folder with `train.bin` and `test.bin`.

    Raises:
        GoftError: a file is missing or incomplete.
    """
    return Pools(train=_cifar(source / "train.bin"), test=_cifar(source / "test.bin"))


def _cifar(path: Path) -> list[Example]:
    """Read records of a coarse class, a fine class, and a red, a green and a blue plane."""
    content = np.frombuffer(read_bytes(path), dtype=np.uint8)
    if not content.size or content.size % CIFAR_RECORD:
        raise GoftError(
            f"{path}: {content.size} bytes are no multiple of a record's {CIFAR_RECORD}",
            "download cifar-100-binary.tar.gz again",
        )
    records = content.reshape(-1, CIFAR_RECORD)
    images = records[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return [Example(image, int(fine)) for image, fine in zip(images, records[:, 1], strict=True)]


def svhn(source: Path) -> Pools:
    """Read the cropped digits of SVHN.

    Args:
        source: folder with `train_32x32.mat` and `test_32x32.mat`.

    Raises:
        GoftError: a file is missing or damaged.
    """
    return Pools(train=_svhn(source / "train_32x32.mat"), test=_svhn(source / "test_32x32.mat"))


def _svhn(path: Path) -> list[Example]:
    """Read images X (32, 32, 3, images) and labels y, which are 10 for the digit 0."""
    with parsing(path):
        content = read_matlab(path)
        images, labels = np.moveaxis(content["X"], -1, 0), content["y"].ravel() % 10
        return [Example(image, int(label)) for image, label in zip(images, labels, strict=True)]


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Name the file whose content is not what its name says.

    Raises:
        GoftError: a part of the content is missing, or has another shape.
    """
    try:
        yield
    except (MatReadError, ValueError, TypeError, KeyError, IndexError) as error:
        raise GoftError(
            f"{path}: not as published ({error})",
            "unpack the original again",
        ) from error


def read_bytes(path: Path) -> bytes:
    """Read a file of an original data set.

    Raises:
        GoftError: the path is no file, or cannot be read.
    """
    refuse_no_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise GoftError(
            f"{path}: cannot be read ({error.strerror})",
            "pass the folder of the unpacked original",
        ) from None


def read_matlab(path: Path) -> dict[str, Any]:
    """Read a MATLAB file of arrays.

    Raises:
        GoftError: it cannot be read.
        MatReadError, ValueError, TypeError: it is no MATLAB file.
    """
    return loadmat(io.BytesIO(read_bytes(path)))

"""Folders that are made whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goft_cli.errors import GoftError
from goft_cli.preflight import check_writable


def check_target(target: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        GoftError: it does, or it is a file.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GoftError(f"output_dir={target} is already there and not empty", "choose another one")


def check_output(file: Path) -> None:
    """Refuse a file that could not be written, before the work whose result it is to hold.

    Raises:
        GoftError: it is a folder, or its folder cannot be made or written.
    """
    if file.is_dir():
        raise GoftError(f"output={file} is a folder", "pass the name of a file")
    check_writable(file.parent, key="output")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Let a block fill a folder aside that becomes `target` once it is whole.

    An error or an interruption leaves nothing behind.
    """
    target = target.resolve()
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        yield aside
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)

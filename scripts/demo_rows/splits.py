"""The splits that a generator makes, and no others."""

from __future__ import annotations

from collections.abc import Iterable

from goft_cli.system.errors import GoftError


def check_split(task: str, split: str, known: Iterable[str]) -> None:
    """Refuse a split that a generator does not make.

    Raises:
        GoftError: names those that it does.
    """
    splits = list(known)
    if split not in splits:
        raise GoftError(f"{task}: unknown split {split!r}, expected {', '.join(splits)}")

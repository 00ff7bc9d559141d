"""Check the name of a split."""

from __future__ import annotations

from collections.abc import Iterable

from goft_cli.system.errors import GoftError


def check_split(task: str, split: str, known: Iterable[str]) -> None:
    """Refuse a split that a generator does not make.

    Raises:
        GoftError: the split is unknown; the message names the known ones.
    """
    splits = list(known)
    if split not in splits:
        raise GoftError(f"{task}: unknown split {split!r}, expected {', '.join(splits)}")

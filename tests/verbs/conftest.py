"""Shared by the tests of `goft plan`: data, a model without weights and a short run's overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import small_runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and a model without its weights."""
    return small_runs.write_place(tmp_path_factory.mktemp("place"))


def words(place: Path, *more: str) -> list[str]:
    """Return overrides for a short run in `run`, on the data and the model of `place`."""
    return small_runs.overrides(place / "model", place / "data", Path("run"), *more)

"""What the tests of `goft plan` share: a run that is planned, and not trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import small_runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and with a model whose weights are not there."""
    return small_runs.write_place(tmp_path_factory.mktemp("place"))


def words(place: Path, *more: str) -> list[str]:
    """Overrides for a short run in `run`, on the data and the model of `place`."""
    return small_runs.overrides(place / "model", place / "data", Path("run"), *more)

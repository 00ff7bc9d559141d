"""Fixtures for `goft plan`: a short run's files and words; and for `goft compare`: no trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.verbs.compare import comparison, runs
from tests.support import small_runs
from tests.support.comparisons import Trainings


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and a model without its weights."""
    return small_runs.write_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Replace the trainings of a comparison by written files."""
    made = Trainings()
    monkeypatch.setattr(runs, "finish", made.finish)
    return made


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures of a comparison."""
    monkeypatch.setattr(comparison, "draw", lambda *_: [])


def words(place: Path, *more: str) -> list[str]:
    """Return overrides for a short run in `run`, on the data and the model of `place`."""
    return small_runs.overrides(place / "model", place / "data", Path("run"), *more)

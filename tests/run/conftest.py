"""A fixture: a configuration whose run folder does not exist yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.config import TrainConfig
from tests.support.recipe_cells import cell


@pytest.fixture
def cfg(tmp_path: Path) -> TrainConfig:
    return replace(cell("demo/acceptability", "goft"), output_dir=str(tmp_path / "a" / "run"))

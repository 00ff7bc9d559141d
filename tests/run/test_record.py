"""Finished runs are found below a folder and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.run.record import find_runs
from goft_cli.system.errors import GoftError


def test_only_finished_runs_are_found(tmp_path: Path) -> None:
    for name in ("done", "begun"):
        (tmp_path / name).mkdir()
    (tmp_path / "done" / "metrics.json").write_text('{"headline": {"name": "f1", "value": 0.5}}')
    assert [(run.folder.path.name, run.score) for run in find_runs(tmp_path)] == [("done", 0.5)]
    with pytest.raises(GoftError, match=r"runs=.*begun: found no finished run below it"):
        find_runs(tmp_path / "begun")

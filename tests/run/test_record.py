"""Finished runs are found below a folder and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord, find_runs
from goft_cli.system.errors import GoftError


def test_only_finished_runs_are_found(tmp_path: Path) -> None:
    for name in ("done", "begun"):
        (tmp_path / name).mkdir()
    (tmp_path / "done" / "metrics.json").write_text('{"headline": {"name": "f1", "value": 0.5}}')
    assert [(run.folder.path.name, run.score) for run in find_runs(tmp_path)] == [("done", 0.5)]
    with pytest.raises(GoftError, match=r"runs=.*begun: found no finished run below it"):
        find_runs(tmp_path / "begun")


@pytest.mark.parametrize(
    ("file", "content", "attribute", "missing"),
    [
        ("metrics.json", "{}", "score", "headline"),
        ("metrics.json", '{"headline": {"name": "f1"}}', "score", "value"),
        ("manifest.json", "{}", "environment", "environment"),
        ("history.json", "{}", "history", "logged"),
    ],
)
def test_a_missing_entry_is_refused_by_name(
    file: str, content: str, attribute: str, missing: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(content)
    said = f"{file}: damaged, an entry {missing} is missing; .* overwrite=true"
    with pytest.raises(GoftError, match=said.replace("; ", ".*")):
        getattr(RunRecord(RunFolder(tmp_path)), attribute)

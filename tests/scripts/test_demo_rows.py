"""The rows that the package ships are those that the generators make."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.data.sources import FOLDER, read_rows
from scripts.make_demo_rows import main


@pytest.mark.slow
def test_the_shipped_files_are_what_the_script_writes(tmp_path: Path) -> None:
    main(["--output", str(tmp_path)])
    made = {path.relative_to(tmp_path): read_rows(path) for path in tmp_path.rglob("*.gz")}
    shipped = {path.relative_to(FOLDER): path for path in FOLDER.rglob("*") if path.is_file()}
    assert made.keys() == shipped.keys()
    assert [path for path in made if made[path] != read_rows(shipped[path])] == []

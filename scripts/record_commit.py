"""Record the commit in what hatch builds: `goft --version` and each run's manifest name it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli.system.locations import COMMIT, source_revision


class RecordCommit(BuildHookInterface):
    """Adds `goft_cli/commit`, unless the sources are already those of a built distribution."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file aside and add it to the archive; an editable installation needs none."""
        package = Path(self.root, "goft_cli")
        revision = source_revision()
        if version == "editable" or revision is None or (package / COMMIT).is_file():
            return
        written = Path(tempfile.mkdtemp(), COMMIT)
        written.write_text(f"{revision}\n", encoding="utf-8")
        build_data["force_include"][str(written)] = f"goft_cli/{COMMIT}"

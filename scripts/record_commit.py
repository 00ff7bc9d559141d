"""Record the commit in what hatch builds: `goft --version` and each run's manifest name it.

A build has hatchling and Python alone, so nothing of this package is imported.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RECORD = "goft_cli/commit"
"""What `goft_cli.system.locations.source_revision` reads."""


class RecordCommit(BuildHookInterface):
    """Adds `RECORD`, unless the sources have one, as those of a source distribution do."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file aside and add it to the archive; an editable installation needs none."""
        if version == "editable" or Path(self.root, RECORD).is_file():
            return
        command = ["git", "-C", self.root, "rev-parse", "HEAD"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return  # no checkout of git, so no commit to name
        written = Path(tempfile.mkdtemp(), "commit")
        written.write_text(found.stdout, encoding="utf-8")
        build_data["force_include"][str(written)] = RECORD

"""Record the commit in the archives that hatch builds, for `goft --version` and manifests.

Imports nothing of this package, because a build environment has only hatchling.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RECORD = "goft_cli/commit"
"""The file that `goft_cli.system.locations.source_revision` reads."""


class RecordCommit(BuildHookInterface):
    """A build hook that adds `RECORD`, unless the sources have it: a source distribution does."""

    folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write a temporary file and add it to the archive; editable installations need none."""
        if version == "editable" or Path(self.root, RECORD).is_file():
            return
        command = ["git", "-C", self.root, "rev-parse", "HEAD"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return  # the sources are no git checkout, so they have no commit
        self.folder = Path(tempfile.mkdtemp())
        written = self.folder / "commit"
        written.write_text(found.stdout, encoding="utf-8")
        build_data["force_include"][str(written)] = RECORD

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary file."""
        if self.folder:
            shutil.rmtree(self.folder)

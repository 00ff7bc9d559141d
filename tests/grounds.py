"""A finished run with its model and its data beside it, all of them one's own to change."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from goft_cli.config import TrainConfig
from goft_cli.runs.run_folder import RunFolder
from tests import small

WORDS = ["adapter=qgoft", "trainer.learning_rate=0.02"]
"""Those of the fixture `trained`."""


@dataclass(frozen=True)
class Ground:
    """Folders `model`, `data` and `run` below one root."""

    root: Path

    @property
    def run(self) -> RunFolder:
        """The run."""
        return RunFolder(self.root / "run")

    def cfg(self, *more: str) -> TrainConfig:
        """Compose the command that made the run."""
        places = (self.root / "model", self.root / "data", self.run.path)
        return small.composed(small.overrides(*places, *WORDS, *more))


def copied(trained: Path, root: Path) -> Ground:
    """Copy what the fixture `trained` is made of, and let the copy's run refer to the copies."""
    shutil.copytree(trained.parent, root)
    ground = Ground(root)
    text = ground.run.config.read_text(encoding="utf-8")
    assert str(trained.parent) in text
    ground.run.config.write_text(text.replace(str(trained.parent), str(root)), encoding="utf-8")
    return ground

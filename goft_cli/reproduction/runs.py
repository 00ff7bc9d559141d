"""The runs behind a cell: what is there is reused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goft_cli.commands.train import train
from goft_cli.config import MeasureConfig, TrainConfig
from goft_cli.errors import GoftError
from goft_cli.runs.run_folder import RunFolder, read_json


@dataclass(frozen=True)
class Run:
    """A finished run of one seed."""

    cfg: TrainConfig
    folder: RunFolder
    metrics: dict[str, Any]
    manifest: dict[str, Any]

    def value(self, measure: MeasureConfig) -> float:
        """Return the number that a recipe compares, in the paper's unit.

        Raises:
            GoftError: the run has no such number.
        """
        found: Any = self.metrics
        for step in measure.key.split("."):
            if not isinstance(found, dict) or step not in found:
                raise GoftError(
                    f"{self.folder.metrics}: there is no {measure.key}; correct the recipe's key"
                )
            found = found[step]
        return measure.scale * found


def finished_run(cfg: TrainConfig) -> Run:
    """Train, or find it done, and read what it left.

    Raises:
        GoftError: the run refuses its input, or fails.
    """
    train(cfg)
    folder = RunFolder(Path(cfg.output_dir))
    return Run(cfg, folder, read_json(folder.metrics), read_json(folder.manifest))

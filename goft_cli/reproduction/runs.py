"""The runs behind a cell: what is there is reused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goft_cli.commands.train import train
from goft_cli.config import MeasureConfig, TrainConfig
from goft_cli.errors import USAGE_ERROR, GoftError, RankError
from goft_cli.launching.launch import RankTracebackError
from goft_cli.preflight import check_inputs
from goft_cli.runs.files import read_json
from goft_cli.runs.provenance import is_reusable
from goft_cli.runs.run_folder import RunFolder
from goft_cli.sweeps.isolation import Outcome, Surroundings, isolated


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
                    f"{self.folder.metrics}: there is no {measure.key}",
                    "correct the recipe's key",
                )
            found = found[step]
        return measure.scale * found


def finished_run(cfg: TrainConfig) -> Run:
    """Train in a process of its own, whose peak of memory is its own too, or find it done.

    Raises:
        GoftError: the run refuses its input, or is finished on data or weights that have changed.
        RankError: the run failed.
    """
    if not is_reusable(cfg):
        check_inputs(cfg)  # here, where an answer does not wait for a process
        surroundings = Surroundings(str(Path.cwd()), dict(os.environ), None)
        outcome = isolated(train_quietly, cfg, surroundings, several=True)
        if outcome.code:
            raise as_error(outcome) from RankTracebackError(f"\n{outcome.traceback}")
    folder = RunFolder(Path(cfg.output_dir))
    return Run(cfg, folder, read_json(folder.metrics), read_json(folder.manifest))


def train_quietly(cfg: TrainConfig) -> None:
    """Train without the run's own summary on the screen; progress and warnings go elsewhere."""
    from goft_cli.report import screen

    screen.quiet = True
    train(cfg)


def as_error(outcome: Outcome) -> GoftError | RankError:
    """Return the exception that a process ended with, as this process would have raised it."""
    if outcome.code == USAGE_ERROR:
        return GoftError(outcome.sentence)
    return RankError(outcome.sentence, outcome.code)

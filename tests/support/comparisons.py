"""A stand-in for the processes that train the runs of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from goft_cli.config import TrainConfig
from goft_cli.run.configuration import as_plain
from goft_cli.run.record import RunRecord
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json, write_text
from goft_cli.verbs.compare.runs import PlannedRun

SCORES = {"goft": 0.5, "lora": 0.25, "qgoft": 0.625, "oft": 0.0}


def growing(cfg: TrainConfig) -> float:
    """Return a score that grows with the seed."""
    return SCORES[cfg.adapter.name] + cfg.seed / 64


@dataclass
class Trainings:
    """Writes the files of a finished run instead of training it, and records the run.

    Attributes:
        score: the score of a run; None if the run fails and writes nothing.
        most: number of runs after which the next one is interrupted.
    """

    score: Callable[[TrainConfig], float | None] = growing
    most: int = 1000
    planned: list[PlannedRun] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """The commands of the runs so far."""
        return [run.command for run in self.planned]

    def finish(self, run: PlannedRun, *, trial: bool = False) -> None:
        """Stand in for `goft_cli.verbs.compare.runs.finish`."""
        if len(self.planned) == self.most:
            raise GoftError("interrupted")
        self.planned.append(run)
        score = self.score(run.cfg)
        if score is None:
            return
        name = run.cfg.adapter.name
        metrics = {
            "headline": {"name": "matthews_correlation", "value": score},
            "trainable_parameters": 100 * len(name),
            "head_parameters": 10,
            "train_seconds": float(len(name)),
            "seconds_per_update": 0.5,
            "peak_memory_bytes": 2**28,
        }
        if benchmark := run.cfg.benchmark:
            metrics["metrics"] = {benchmark.name: {benchmark.headline: score / 2, "other": 0.0}}
        folder = RunRecord.of(run.cfg).folder
        write_text(folder.config, yaml.safe_dump(as_plain(run.cfg)))
        write_json(folder.metrics, metrics)
        write_json(folder.manifest, {"environment": {"cpu_threads": 1}})

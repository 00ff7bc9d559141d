"""What the runs of a comparison forgot of the base model, and how GOFT's and LoRA's got there."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from goft_cli.config import TRAIN_SAMPLE, CompareConfig
from goft_cli.config.retain import RetainSpec
from goft_cli.run.record import RunRecord
from goft_cli.system.digests import digest_of, digests, program
from goft_cli.system.files import read_json, write_json
from goft_cli.system.imports import importing
from goft_cli.verbs.compare.runs import PlannedRun

CURVES = ("goft", "lora")
"""Adapters whose runs are measured at fractions of their strength, too."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
KEPT = "forgotten.json"
"""File of the comparison: what was found, by a digest of all that it depends on."""
Found = Mapping[str, Any]
"""Of one run: `name` and `label` of the one number `forgotten`, all `measures`, the `base` model's
own, and the `curve`: (strength, forgotten, score) each."""


@dataclass(frozen=True)
class Forgotten:
    """What the runs of one adapter forgot, one per seed."""

    runs: Sequence[Found]

    @property
    def label(self) -> str:
        """What the number is."""
        return self.runs[0]["label"]

    @property
    def values(self) -> list[float]:
        """The number that stands for all measures, by run; 0 is the base model."""
        return [run["forgotten"] for run in self.runs]

    @property
    def mean(self) -> float:
        """Its mean."""
        return statistics.mean(self.values)

    @property
    def measures(self) -> dict[str, float]:
        """The mean of each measure."""
        names = self.runs[0]["measures"]
        return {name: statistics.mean(run["measures"][name] for run in self.runs) for name in names}

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Forgotten and score at each strength, means over the runs; empty if not measured."""
        points = zip(*(run["curve"] for run in self.runs), strict=True)
        return [
            (statistics.mean(one[1] for one in point), statistics.mean(one[2] for one in point))
            for point in points
        ]


def measure_all(
    cfg: CompareConfig, runs: Mapping[str, Sequence[PlannedRun]], wanted: RetainSpec
) -> dict[str, Forgotten]:
    """Measure each run, unless that has been done on the same files."""
    file = Path(cfg.output_dir) / KEPT
    known: dict[str, Found] = read_json(file) if file.is_file() else {}
    found: dict[str, list[Found]] = {name: [] for name in runs}
    for name, run in [(name, run) for name, several in runs.items() for run in several]:
        record, curve = run.record, name in CURVES
        key = digest_of(ground(record, wanted, curve=curve))
        if key not in known:
            known[key] = measured(record, wanted, curve=curve)
            write_json(file, known)
        found[name].append(known[key])
    return {name: Forgotten(several) for name, several in found.items()}


def ground(record: RunRecord, wanted: RetainSpec, *, curve: bool) -> list[Any]:
    """Return all that the measures of a run depend on."""
    manifest = [record.manifest.get(key) for key in ("adapter", "model", "data")]
    files = [Path(one.of) for one in wanted.wanted if one.of and Path(one.of).is_file()]
    read = sorted(digests(files).values())
    tasks = [[str(one), asdict(task)] for one, task in wanted.tasks.items()]
    return [manifest, str(wanted), tasks, read, list(STRENGTHS) if curve else [], program("torch")]


def measured(record: RunRecord, wanted: RetainSpec, *, curve: bool) -> dict[str, Any]:
    """Open a run and measure it, at its strength or at several."""
    with importing(packed=record.cfg.model.quantization is not None):
        from goft_cli.run.forgetting import prepare
        from goft_cli.run.trained import open_trained
        from goft_cli.studies.rewinding import encoded, rewind
        from goft_cli.system.screen import quiet_libraries

    size, split = record.cfg.trainer.per_device_eval_batch_size, record.cfg.task.headline_split
    with quiet_libraries():
        run = open_trained(str(record.folder.path), base_model=None)
        retention = prepare(run, wanted, size)
        points = []
        if curve and split != TRAIN_SAMPLE:
            points = rewind(run, STRENGTHS, retention, size, encoded(run, split))
        measures = points[-1].measures if points else retention.measure()
    return {
        "name": retention.headline.name,
        "label": retention.headline.label,
        "forgotten": retention.forgotten(measures),
        "measures": dict(measures),
        "base": retention.base,
        "curve": [[one.strength, one.forgotten, one.score] for one in points],
    }


def notes(forgotten: Mapping[str, Forgotten]) -> list[str]:
    """Return what a reader should know of the measures, one sentence each."""
    if not forgotten:
        return []
    first = next(iter(forgotten.values()))
    found = [f"Forgotten: {first.label}, mean over the seeds; 0 is the base model."]
    curves = [name for name, one in forgotten.items() if one.curve]
    if curves:
        found.append(
            f"Lines in the figure: the runs of {' and '.join(curves)} at strengths "
            f"{STRENGTHS[0]:g} to {STRENGTHS[-1]:g}, heads as trained."
        )
    return found

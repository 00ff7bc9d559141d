"""How much the runs of a comparison forgot, GOFT's and LoRA's also at fractions of strength."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from goft_cli.config import TRAIN_SAMPLE, CompareConfig
from goft_cli.config.retain import RetainSpec
from goft_cli.run.record import RunRecord
from goft_cli.run.retained import Retained, find, references_of, sources_digest
from goft_cli.system.digests import digest_of
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json, write_json
from goft_cli.system.imports import importing
from goft_cli.verbs.compare.runs import Runs

CURVES = ("goft", "lora")
"""Adapters whose runs are measured at fractions of their strength, too."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LINES = "curves.json"
"""File of the comparison with those lines, each by a digest of all that it depends on."""
Line = Sequence[Sequence[float]]
"""Forgotten and score at each strength."""


@dataclass(frozen=True)
class Forgotten:
    """How much the runs of one adapter forgot, one per seed, and their lines if there are any."""

    runs: Sequence[Retained]
    lines: Sequence[Line]

    @property
    def label(self) -> str:
        """The label of `values` on a figure or in a table."""
        return self.runs[0].label

    @property
    def values(self) -> list[float]:
        """The number that stands for all measures, by run; 0 is the base model."""
        return [run.forgotten for run in self.runs]

    @property
    def mean(self) -> float:
        """The mean of `values`."""
        return statistics.mean(self.values)

    @property
    def measures(self) -> dict[str, float]:
        """The mean of each measure."""
        names = self.runs[0].measures
        return {name: statistics.mean(run.measures[name] for run in self.runs) for name in names}

    @property
    def line(self) -> list[tuple[float, float]]:
        """Means over the runs; empty where there is no line."""
        if not all(self.lines):
            return []
        points = [zip(*point, strict=True) for point in zip(*self.lines, strict=True)]
        return [(statistics.mean(lost), statistics.mean(scores)) for lost, scores in points]


def measure_all(cfg: CompareConfig, runs: Runs, wanted: RetainSpec) -> dict[str, Forgotten]:
    """Measure each run that has not been measured on the same files."""
    file = Path(cfg.output_dir) / LINES
    known: dict[str, Line] = read_json(file) if file.is_file() else {}
    found = {}
    for name, planned in runs.items():
        records = [run.record for run in planned]
        several = [
            find(one, wanted, one.cfg.adapter.strength) or measure(one, wanted) for one in records
        ]
        keys = [key_of(one, wanted) for one in records] if name in CURVES else []
        for key, record in zip(keys, records, strict=False):
            if key not in known:
                known[key] = line_of(record, wanted)
                write_json(file, known)
        found[name] = Forgotten(several, [known[key] for key in keys])
    return found


def key_of(record: RunRecord, wanted: RetainSpec) -> str:
    """Return the digest of all that the line of a run depends on."""
    split = record.cfg.task.headline_split
    return digest_of([sources_digest(record), references_of(wanted), split, list(STRENGTHS)])


def measure(record: RunRecord, wanted: RetainSpec) -> Retained:
    """Open a run and measure it as it was trained."""
    with importing(packed=record.cfg.model.quantization is not None):
        from goft_cli.run.forgetting import retained_by
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        run = open_trained(str(record.folder.path), base_model=None)
        return retained_by(run, wanted, record.cfg.trainer.per_device_eval_batch_size)


def line_of(record: RunRecord, wanted: RetainSpec) -> Line:
    """Open a run and measure it at each strength.

    Return nothing if its headline has no split, or if its adapter has no fractional strengths, as
    with a factor that is not positive: the runs are finished, so a missing line is no error.
    """
    with importing(packed=record.cfg.model.quantization is not None):
        from goft_cli.run.forgetting import prepare
        from goft_cli.run.trained import open_trained
        from goft_cli.studies.rewinding import check_fractions, encoded, rewind
        from goft_cli.system.screen import quiet_libraries

    size, split = record.cfg.trainer.per_device_eval_batch_size, record.cfg.task.headline_split
    if split == TRAIN_SAMPLE:
        return []
    with quiet_libraries():
        run = open_trained(str(record.folder.path), base_model=None)
        try:
            check_fractions(run, STRENGTHS)
        except GoftError:
            return []
        points = rewind(run, STRENGTHS, prepare(run, wanted, size), size, encoded(run, split))
    return [[one.forgotten or 0.0, one.score] for one in points]


def notes(forgotten: Mapping[str, Forgotten]) -> list[str]:
    """Return what a reader should know of the measures, one sentence each."""
    if not forgotten:
        return []
    first = next(iter(forgotten.values()))
    found = [f"Forgotten: {first.label}, mean over the seeds; 0 is the base model."]
    curves = [name for name, one in forgotten.items() if one.line]
    if curves:
        found.append(
            f"Lines in the figure: the runs of {' and '.join(curves)} at strengths "
            f"{STRENGTHS[0]:g} to {STRENGTHS[-1]:g}, heads as trained."
        )
    return found

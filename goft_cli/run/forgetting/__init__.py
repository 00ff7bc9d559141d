"""How much of a base model an adapted model has kept: measures against the base model.

`prepare` reads the reference rows and runs the base model on them once; then `Retention.measure`
runs the model at its present strength once over the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, cast

from goft_cli.config import TaskConfig
from goft_cli.config.retain import BENCHMARK, CKA, PROBE, STS, TEXT, RetainSpec, Wanted
from goft_cli.run.forgetting.features import MOST_ROWS, Rows, Similarity, base_only
from goft_cli.run.forgetting.probe import Probe
from goft_cli.run.forgetting.text import KL, Meaning, Prose
from goft_cli.run.record import RunRecord
from goft_cli.run.retained import Retained, keep, references_of, sources_digest
from goft_cli.run.trained import TrainedRun, spread
from goft_cli.tasks.benchmark import load_benchmark, require_kind
from goft_cli.tasks.families import build_benchmark

VALIDATION = "validation"
"""The name of the rows that checkpoints are chosen on, whatever the task calls them."""
ORDER = (TEXT, PROBE, CKA, STS, BENCHMARK)
"""Kinds of measures; of several, the first one in this order is the headline."""


class Measure(Protocol):
    """One prepared measure: `base` has the base model's values, `measure` the present model's."""

    base: dict[str, float]

    def measure(self) -> dict[str, float]:
        """Run the model once over the rows."""
        ...


@dataclass(frozen=True)
class Forgetting:
    """The one number that stands for all measures in a table: 0 for the base, larger is worse."""

    name: str
    """The measure that it is computed from."""
    label: str
    """Its label on a column or an axis."""
    greater_is_better: bool = True
    """Whether more of the measure is better."""


@dataclass(frozen=True)
class Retention:
    """The measures of one run, prepared."""

    measures: Sequence[Measure]
    headline: Forgetting

    @property
    def base(self) -> dict[str, float]:
        """The base model's own values, of those measures that have one."""
        return {name: value for one in self.measures for name, value in one.base.items()}

    def measure(self) -> dict[str, float]:
        """Measure the model as it stands now: one pass over the reference rows."""
        return {name: value for one in self.measures for name, value in one.measure().items()}

    def forgotten(self, measures: Mapping[str, float]) -> float:
        """Return how much worse the headline's measure is than the base's, which has 0."""
        value = measures[self.headline.name]
        if self.headline.name == KL:
            return value
        fall = self.base.get(self.headline.name, 1.0) - value  # the base's CKA with itself is 1
        return fall if self.headline.greater_is_better else -fall


def retained_by(run: TrainedRun, wanted: RetainSpec, batch_size: int) -> Retained:
    """Measure a run at its strength; store the result in its folder unless it read other data."""
    retention = prepare(run, wanted, batch_size)
    found, headline = retention.measure(), retention.headline
    measured = Retained(
        spec=str(wanted),
        strength=run.strength,
        name=headline.name,
        label=headline.label,
        forgotten=retention.forgotten(found),
        base=retention.base,
        measures=found,
        ground=sources_digest(RunRecord(run.folder)),
        references=references_of(wanted),
    )
    if not run.other_data:
        with suppress(OSError):  # a finished run may lie on a read-only disk
            keep(run.folder, measured)
    return measured


def prepare(run: TrainedRun, wanted: RetainSpec, batch_size: int) -> Retention:
    """Read and encode the reference rows, and compute the base model's values in one pass.

    `wanted` comes from `goft_cli.compose.references.retain_spec` if it names tasks.
    """
    wanted = wanted.settled(run.cfg.task)
    return Retention(
        [prepared(run, one, wanted.tasks.get(one), batch_size) for one in wanted.wanted],
        headline_of(wanted),
    )


def prepared(run: TrainedRun, wanted: Wanted, task: TaskConfig | None, batch_size: int) -> Measure:
    """Prepare one measure."""
    if wanted.kind == TEXT:
        return Prose(run, wanted.of)
    if wanted.kind == STS:
        return Meaning(run, str(wanted.of), batch_size)
    if wanted.kind == PROBE and task is not None:
        return Probe(run, task, batch_size)
    if wanted.kind == BENCHMARK and task is not None:
        return Questions(run, task, batch_size)
    return Similarity(VALIDATION, validation_rows(run, batch_size))


def headline_of(wanted: RetainSpec) -> Forgetting:
    """Choose the headline: the first of KL on a text, a probe, CKA, STS and a benchmark.

    `wanted` is settled.
    """
    first = min(wanted.wanted, key=lambda one: ORDER.index(one.kind))
    task = wanted.tasks.get(first)
    if first.kind == TEXT:
        return Forgetting(KL, "KL(base || adapted), nats per token", greater_is_better=False)
    if first.kind == PROBE and task is not None:
        label = f"fall of the probe's {task.headline}, {task.name}"
        return Forgetting(f"{PROBE}:{task.name}/score", label, task.greater_is_better)
    if first.kind == STS:
        return Forgetting("sts/spearman", "fall of Spearman's correlation")
    if first.kind == BENCHMARK and task is not None:
        return Forgetting(f"{task.name}/{task.headline}", f"fall of {task.headline}, {task.name}")
    return Forgetting(f"{VALIDATION}/cka", "1 - CKA, validation inputs")


class Questions:
    """A benchmark, scored on the base model and on the adapted one."""

    def __init__(self, run: TrainedRun, config: TaskConfig, batch_size: int) -> None:
        self._run, self._batch_size = run, batch_size
        self._loaded = load_benchmark(build_benchmark(config))
        require_kind(self._loaded.benchmark, run.task.auto_class, f"the run {run.folder.path}")
        with base_only(run.model):
            self.base = self.measure()

    def measure(self) -> dict[str, float]:
        """Ask every question."""
        run, asked = self._run, self._loaded
        model = cast("Any", run.model.to(run.arguments(self._batch_size).device).eval())
        with TemporaryDirectory(prefix="goft-retain-") as folder:
            given = run.backbone.processor, asked.data, Path(folder), self._batch_size
            found = asked.benchmark.evaluate(model, *given)
        return {f"{asked.name}/{metric}": value for metric, value in found.metrics.items()}


def validation_rows(run: TrainedRun, batch_size: int) -> Rows:
    """Return up to 5,000 encoded rows of the split that checkpoints are chosen on."""
    config = run.task.config
    name = next(iter(config.eval_splits), config.train_split)
    rows = run.load_splits([name]).splits[name]
    rows = rows.select(spread(len(rows), MOST_ROWS))
    inputs = run.task.split(rows, run.backbone.processor).inputs
    return Rows.of(run, run.task, inputs, batch_size)

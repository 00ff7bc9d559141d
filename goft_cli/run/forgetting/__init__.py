"""What a base model still does after it was adapted: measures, each against the base itself.

`prepare` reads the reference rows and runs the base model on them once; then `Retention.measure`
runs the model as it stands, at whatever strength, once over the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from goft_cli.config.retain import CKA, RetainSpec, Wanted
from goft_cli.run.forgetting.features import Rows, Similarity, spread_over
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError

VALIDATION = "validation"
"""The name of the rows that checkpoints are chosen on, whatever the task calls them."""


class Measure(Protocol):
    """One measure, prepared: the base's own values, and those of the model as it stands."""

    base: dict[str, float]

    def measure(self) -> dict[str, float]:
        """Run the model once over the rows."""
        ...


@dataclass(frozen=True)
class Forgetting:
    """The one number that stands for all measures in a table: 0 for the base, larger is worse."""

    name: str
    """The measure that it is made of."""
    label: str
    """What it is, for the head of a column or an axis."""


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
        """Return the headline's number of what `measure` found: 0 for the base, larger is worse."""
        return forgotten(self.headline, measures, self.base)


def forgotten(
    headline: Forgetting, measures: Mapping[str, float], base: Mapping[str, float]
) -> float:
    """Return how far a measure is from the base's; that of a similarity is 1."""
    value = measures[headline.name]
    return base.get(headline.name, 1.0) - value


def headline_of(names: Sequence[str]) -> Forgetting:
    """Choose among the measures."""
    name = names[0]
    return Forgetting(name, f"1 - {name}")


def prepare(run: TrainedRun, wanted: RetainSpec, batch_size: int) -> Retention:
    """Read and encode the reference rows, and compute the base model's side: one pass."""
    measures = [prepared(run, one, batch_size) for one in wanted.settled(run.cfg.task).wanted]
    return Retention(measures, headline_of([f"{VALIDATION}/cka"]))


def prepared(run: TrainedRun, wanted: Wanted, batch_size: int) -> Measure:
    """Prepare one measure."""
    if wanted.kind == CKA:
        return Similarity(VALIDATION, validation_rows(run, batch_size))
    raise GoftError(f"retain={wanted}: it cannot be measured here", "pass retain=cka")


def validation_rows(run: TrainedRun, batch_size: int) -> Rows:
    """Return up to 5,000 encoded rows of the split that checkpoints are chosen on."""
    config = run.task.config
    name = next(iter(config.eval_splits), config.train_split)
    rows = run.load_splits([name]).splits[name]
    inputs = run.task.split(rows, run.backbone.processor).inputs
    return Rows(run, run.task, spread_over(inputs), batch_size)

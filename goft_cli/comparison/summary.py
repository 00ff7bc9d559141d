"""What the runs of one adapter come to, over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goft_cli.config import AdapterConfig
from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import Difference, deviation, paired_difference


@dataclass(frozen=True)
class Summary:
    """One adapter's row.

    Attributes:
        adapter: its name.
        setting: what sets its size, such as `r=2`; empty where that is fixed.
        results: one per seed.
        difference: of its scores to the reference's, seed by seed; None for the reference.
        greater_is_better: which score is the best.
    """

    adapter: str
    setting: str
    results: tuple[RunRecord, ...]
    difference: Difference | None
    greater_is_better: bool = True

    @property
    def scores(self) -> list[float]:
        """One per seed."""
        return [result.score for result in self.results]

    @property
    def mean(self) -> float:
        """Mean score."""
        return statistics.mean(self.scores)

    @property
    def deviation(self) -> float | None:
        """The scores' standard deviation, None for a single run."""
        return deviation(self.scores)

    @property
    def best(self) -> float:
        """Score of the best seed."""
        return max(self.scores) if self.greater_is_better else min(self.scores)

    @property
    def parameters(self) -> int:
        """Trained by the adapter, the head left out."""
        return self.results[0].parameters

    @property
    def seconds(self) -> float:
        """Median training time."""
        return statistics.median(result.train_seconds for result in self.results)

    @property
    def memory(self) -> float:
        """Median peak, in bytes."""
        return statistics.median(result.peak_memory_bytes for result in self.results)


def summarize(
    results: Mapping[str, Sequence[RunRecord]],
    settings: Mapping[str, str],
    reference: str,
    *,
    greater_is_better: bool,
) -> list[Summary]:
    """Return one row per adapter, in the order of `results`; the others against the reference."""
    scores = {name: {run.seed: run.score for run in runs} for name, runs in results.items()}
    return [
        Summary(
            adapter=name,
            setting=settings[name],
            results=tuple(runs),
            difference=(
                None if name == reference else paired_difference(scores[name], scores[reference])
            ),
            greater_is_better=greater_is_better,
        )
        for name, runs in results.items()
    ]


def setting_of(adapter: AdapterConfig) -> str:
    """Say what sets an adapter's size, if anything does."""
    growth = adapter.growth
    return "" if growth is None else f"{growth.key}={getattr(adapter, growth.key)}"


def same_machine(results: Sequence[RunRecord]) -> bool:
    """Tell whether times and memory may be compared: one environment made them all."""
    return all(result.environment == results[0].environment for result in results)

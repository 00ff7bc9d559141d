"""A published result: what gives it again, and what the paper printed."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from goft_cli.system.errors import GoftError

EVERY = "all"
"""Stands for every method of a recipe."""
HEADLINE = "score"
"""The measure that goes by the name of its task's headline."""


@dataclass
class MeasureConfig:
    """One number per method: where ours is in `metrics.json`, and the paper's."""

    key: str = MISSING
    """The way to our number, its steps parted by dots."""
    scale: float = 100.0
    """Times our number is the paper's unit: 100 where it prints percent."""
    digits: int = 2
    """Decimals that the paper prints."""
    paper: dict[str, float | None] = field(default_factory=dict)
    """By method; null where the paper draws the result and prints no number."""


@dataclass
class ReproductionConfig:
    """A file under `recipes/`. Hyperparameters are not here: they are the task's."""

    source: str = MISSING
    """Where in the paper the numbers are."""
    task: str = MISSING
    model: str = MISSING
    words: list[str] = field(default_factory=list)
    """What else `goft train` is told, whatever the method."""
    methods: dict[str, list[str]] = field(default_factory=dict)
    """Words for a method, where they are not `adapter=METHOD`."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    hardware: str = MISSING
    """What a run needs."""
    measures: dict[str, MeasureConfig] = field(default_factory=dict)
    """By name; `score` is shown under the name of the task's headline."""
    not_comparable: dict[str, str] = field(default_factory=dict)
    """Why a method's number says nothing about the paper's; `all` stands for every method."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the numbers should know."""
    stand_in: str = MISSING
    """The shipped model of a rehearsal, which is of the same family."""
    rehearsal: list[str] = field(default_factory=list)
    """What a rehearsal changes besides, so that the stand-in can do it."""

    def __post_init__(self) -> None:
        """Check that there is something to compare, and that no method is misspelt."""
        if not all(measure.paper for measure in self.measures.values()) or not self.measures:
            raise GoftError("measures: each needs the paper's value of one method at least")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise GoftError(f"seeds={self.seeds}: expected numbers, each once, such as [1, 2, 3]")
        for section in ("methods", "not_comparable"):
            strange = getattr(self, section).keys() - {*self.published, EVERY}
            if strange:
                raise GoftError(
                    f"{section}: no measure has a value for {', '.join(sorted(strange))}",
                    f"found {', '.join(self.published)}",
                )

    @property
    def published(self) -> list[str]:
        """The methods, as the measures name them."""
        return list(dict.fromkeys(name for one in self.measures.values() for name in one.paper))

"""Keys of the verbs that study runs: compare, reproduce (its recipes), report, verify, rewind."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from goft_cli.config.choices import STRONGEST, Section
from goft_cli.config.retain import check_retain
from goft_cli.config.verbs import TrainConfig
from goft_cli.system.errors import GoftError

EVERY = "all"
"""Means every method of a recipe."""
HEADLINE = "score"
"""The measure that the task's headline names."""


class Budget(StrEnum):
    """Sizes of the adapters: each as in its recipe, or as close as possible to the reference's."""

    default = "default"
    matched = "matched"


@dataclass
class CompareConfig(TrainConfig):
    """`goft compare`: the keys of `goft train` hold for every run."""

    adapters: list[str] = field(default_factory=lambda: ["goft", "qgoft", "lora", "linear"])
    """Names of the adapters to compare."""
    seeds: Any = 3
    """Number of seeds, counted from 1, or a list of them, such as `[1,2,3]`."""
    budget: Budget = Budget.default
    """Sizes of the adapters: each its own, or all as close as possible to the reference's."""
    reference: str | None = None
    """The adapter that the others are compared with; `budget=matched` takes its size. By default
    the first one."""
    tune: int | None = None
    """Number of learning rates that each adapter tries before its runs, around its recipe's; none
    by default."""
    retain: Any = None
    """Measures of the base model's abilities, as in `goft eval`; none by default."""
    dry_run: bool = False
    """Print the runs and how long they would take, and run none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        adapters, reference = self.adapters, self.reference
        if not adapters or len(set(adapters)) < len(adapters):
            raise GoftError(
                f"adapters={typed(adapters)}: expected names, each once, such as [goft,qgoft,lora]"
            )
        if reference is not None and reference not in adapters:
            raise GoftError(f"reference={reference}: expected one of adapters={typed(adapters)}")
        tried = self.tune is None or self.tune > 1
        self.check(tried, "tune", "at least 2 learning rates", example=3)
        check_retain(self.retain)
        self.seed_list()

    @property
    def baseline(self) -> str:
        """The name of the reference."""
        return self.reference or self.adapters[0]

    @property
    def tuning_seed(self) -> int:
        """The smallest seed that is not in `seeds`."""
        seeds = {*self.seed_list()}
        return next(seed for seed in range(len(seeds) + 1) if seed not in seeds)

    def seed_list(self) -> list[int]:
        """Return the seeds one by one."""
        seeds = self.seeds
        if type(seeds) is int and seeds > 0:
            return list(range(1, seeds + 1))
        if (
            isinstance(seeds, list)
            and all(type(seed) is int for seed in seeds)
            and 0 < len(set(seeds)) == len(seeds)
        ):
            return seeds
        raise GoftError(
            f"seeds={typed(seeds)}: expected how many, such as seeds=5, or a list of different "
            "whole numbers, such as seeds=[1,2,3]"
        )


def typed(value: object) -> object:
    """Return a list as users type it, anything else as it is."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value


@dataclass
class MeasureConfig:
    """One number per method: the paper's, and the key of ours in `metrics.json`."""

    key: str = MISSING
    """Key of our number in `metrics.json`; nested keys are joined by dots."""
    scale: float = 100.0
    """Factor from our unit to the paper's: 100 if the paper prints percent."""
    digits: int = 2
    """Decimals that the paper prints."""
    paper: dict[str, float | None] = field(default_factory=dict)
    """The paper's numbers by method; null if the paper shows the result only in a figure."""


@dataclass
class ReproductionConfig:
    """A file under `recipes/`. Hyperparameters are not here: they are the task's."""

    source: str = MISSING
    """The place of the numbers in the paper."""
    task: str = MISSING
    model: str = MISSING
    words: list[str] = field(default_factory=list)
    """Overrides of `goft train` for every method."""
    methods: dict[str, list[str]] = field(default_factory=dict)
    """Overrides of a method, if they are not `adapter=METHOD`."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    hardware: str = MISSING
    """The hardware that a run needs."""
    measures: dict[str, MeasureConfig] = field(default_factory=dict)
    """Measures by name; `score` is shown under the name of the task's headline."""
    not_comparable: dict[str, str] = field(default_factory=dict)
    """Why a method's number cannot be compared with the paper's; `all` means every method."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the numbers should know."""
    stand_in: str = MISSING
    """The shipped tiny model that a rehearsal uses; it is of the same family."""
    rehearsal: list[str] = field(default_factory=list)
    """Further overrides of a rehearsal, which the tiny model needs."""

    def __post_init__(self) -> None:
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


@dataclass
class ReportConfig:
    """`goft report`: one page on one or several finished runs."""

    runs: Any = MISSING
    """A run folder, a folder with runs somewhere below it, or a list of such folders."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    retain: Any = None
    """Measures of the base model's abilities, as in `goft eval`; by default those that the runs
    already have."""
    output_dir: str | None = None
    """Folder for the page and its figures; by default `report` beside the runs."""

    def __post_init__(self) -> None:
        check_retain(self.retain)


@dataclass
class VerifyConfig(Section):
    """`goft verify RUN ...`: arguments without a key are `runs`."""

    adapter: str | None = None
    """The run folder, or the adapter folder inside it."""
    runs: Any = None
    """Several run folders, or folders with runs somewhere below them."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    data_dir: str | None = None
    """Folder with the task's data, if it has moved since training."""
    max_samples: int | None = None
    """Rows of each split to score again; all of them by default."""
    batch_size: int = 64
    """Rows at a time."""

    def __post_init__(self) -> None:
        self.check(self.batch_size > 0, "batch_size", "at least 1", example=64)
        rows = self.max_samples
        self.check(rows is None or rows > 0, "max_samples", "at least 1", example=64)
        if (self.adapter is None) == (self.runs is None):
            found = "none" if self.adapter is None else "both adapter and runs"
            raise GoftError(
                f"verify: expected a run, found {found}",
                "write goft verify RUN_FOLDER, or runs=[RUN_FOLDER,RUN_FOLDER]",
            )
        if not self.places or not all(isinstance(place, str) and place for place in self.places):
            raise GoftError(
                f"runs={self.runs}: expected one or several folders, such as runs=[FOLDER,FOLDER]"
            )

    @property
    def places(self) -> list[str]:
        """The folders that were named."""
        named: Any = self.adapter if self.runs is None else self.runs
        return list(named) if isinstance(named, list) else [named]


@dataclass
class RewindConfig(Section):
    """`goft rewind RUN`: an argument without a key is `adapter`."""

    adapter: str = MISSING
    """The run folder, or the adapter folder inside it."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    at: Any = field(default_factory=lambda: [0, 0.25, 0.5, 0.75, 0.9, 1, 1.1])
    """Strengths at which the run is scored: 0 is the base model, 1 the whole adapter; both are
    added if you do not name them."""
    retain: Any = "auto"
    """Measures of the base model's abilities, as in `goft eval`; null for none."""
    data_dir: str | None = None
    """Folder with the task's data, if it has moved since training."""
    batch_size: int = 64
    """Rows at a time."""
    output_dir: str | None = None
    """Folder for the table and the figure; by default the run folder."""

    def __post_init__(self) -> None:
        self.check(self.batch_size > 0, "batch_size", "at least 1", example=64)
        named = self.at if isinstance(self.at, list) else [self.at]
        numbers = [one for one in named if type(one) in {int, float}]
        once = len({*numbers}) == len(named) > 0
        if not (once and all(0 <= one <= STRONGEST for one in numbers)):
            raise GoftError(
                f"at={typed(self.at)}: expected numbers from 0 to {STRONGEST:g}, each once",
                "pass at=[0,.5,.75,1]",
            )
        check_retain(self.retain)

    @property
    def strengths(self) -> list[float]:
        """The strengths in ascending order; 0 and 1 are always among them."""
        named = self.at if isinstance(self.at, list) else [self.at]
        return sorted({0.0, 1.0, *map(float, named)})

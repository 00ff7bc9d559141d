"""What `goft compare` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from goft_cli.config.verbs import TrainConfig
from goft_cli.system.errors import GoftError


class Budget(StrEnum):
    """How large the adapters are: as the recipe has each, or as near as can be to the reference."""

    default = "default"
    matched = "matched"


@dataclass
class CompareConfig(TrainConfig):
    """`goft compare`: the keys of `goft train` hold for every run."""

    adapters: list[str] = field(default_factory=lambda: ["goft", "qgoft", "lora", "linear"])
    """Names of the adapters to compare."""
    seeds: Any = 3
    """How many, counted from 1; or which, such as `[1,2,3]`."""
    budget: Budget = Budget.default
    """Sizes of the adapters: each its own, or all as near as possible to the reference's."""
    reference: str | None = None
    """The adapter that differences are to, and whose size is the matched budget; the first one."""

    def __post_init__(self) -> None:
        """Check that there are runs, none of them twice, and the reference among them."""
        super().__post_init__()
        adapters, reference = self.adapters, self.reference
        if not adapters or len(set(adapters)) < len(adapters):
            raise GoftError(
                f"adapters={found(adapters)}: expected names, each once, such as [goft,qgoft,lora]"
            )
        if reference is not None and reference not in adapters:
            raise GoftError(f"reference={reference}: expected one of adapters={found(adapters)}")
        self.seed_list()

    @property
    def baseline(self) -> str:
        """The reference, by name."""
        return self.reference or self.adapters[0]

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
            f"seeds={found(seeds)}: expected how many, such as seeds=5, or a list of different "
            "whole numbers, such as seeds=[1,2,3]"
        )


def found(value: object) -> object:
    """Return a list as users type it, anything else as it is."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value

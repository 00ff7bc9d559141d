"""The fields that every adapter has, how its size is chosen, and GOFT's own options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, ClassVar

from omegaconf import MISSING

from goft_cli.config.choices import PENALTY_WEIGHT, Angle, Method, Section
from goft_cli.system.errors import GoftError

Sizes = Callable[[Sequence[int]], Sequence[int]]
"""Maps the input features of the adapted layers to the sizes that fit them, ascending."""


ANY_UPDATES = 10**6
"""A number of updates that AdaLoRA's schedule accepts, for uses that do not depend on it."""
CIRCUMSTANCES = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision")
}
"""Fields of PEFT's configurations that say where and by which version an adapter was saved."""


@dataclass(frozen=True)
class Growth:
    """How the size of an adapter is chosen.

    Attributes:
        key: the field that sets it; whole numbers.
        sizes: the values that the field may have.
        along: fields that keep their proportion to it; integers are rounded down.
    """

    key: str
    sizes: Sizes
    along: tuple[str, ...] = ()

    def fields_at(self, size: int, now: object) -> dict[str, float]:
        """Return the fields of an adapter of that size, with the proportions of adapter `now`."""
        values: dict[str, float] = {self.key: size}
        for name in self.along:
            value = getattr(now, name)
            grown = value * size / getattr(now, self.key)
            values[name] = max(1, int(grown)) if isinstance(value, int) else grown
        return values


def ranks(widths: Sequence[int]) -> Sequence[int]:
    """Any rank that the narrowest layer can have."""
    return range(1, min(widths) + 1)


def ranks_to_lower(widths: Sequence[int]) -> Sequence[int]:
    """Ranks above 1, so that AdaLoRA can end at a lower one."""
    return range(2, min(widths) + 1)


def even_ranks(widths: Sequence[int]) -> Sequence[int]:
    """Even ranks, because reflections come in pairs."""
    return range(2, min(widths) + 1, 2)


def blocks(widths: Sequence[int]) -> Sequence[int]:
    """Blocks that fit into every width a whole number of times."""
    whole = math.gcd(*widths)
    return [size for size in range(2, whole + 1) if whole % size == 0]


@dataclass
class AdapterConfig(Section):
    """The fields that every adapter has: its name and where it reads its hyperparameters."""

    prefix = "adapter."
    takes_packed: ClassVar[bool] = True
    """Whether it trains on weights that bitsandbytes packed."""

    growth: ClassVar[Growth | None] = None
    """How its size is chosen; None where the size is fixed."""

    name: str = MISSING
    """Its name in tables, folders and recipes."""
    peft_type: str = MISSING
    """The PEFT method; further fields are those of its configuration class."""
    recipe: str = "${.name}"
    """Which row of the task's recipe, and of the model's budgets, applies."""
    fallback: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters used if neither the task nor the model has a row for this adapter."""
    strength: float = 1.0
    """How much of the trained adapter is used: 0 is the base model, 1 the whole adapter. Training
    always uses 1; evaluation after training, verification and exports use this value."""

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Return the fields of PEFT's configuration class, for a run of that many updates."""
        shared = {entry.name for entry in fields(AdapterConfig)}
        own = [entry.name for entry in fields(self) if entry.name not in shared]
        values = {name: getattr(self, name) for name in own}
        return {key: v.value if isinstance(v, Enum) else v for key, v in values.items()}

    @property
    def unsettled(self) -> set[str]:
        """Name the fields of PEFT's configuration class that this configuration does not set."""
        return set()

    def check_given(self) -> None:
        """Refuse a value that a user gives and this adapter would ignore.

        Not checked when a run folder is read: one of an earlier version may hold such a value.
        """

    def at_least(self, key: str, smallest: float, *, example: float) -> None:
        """Refuse a field below its smallest value."""
        in_range = smallest <= getattr(self, key) < math.inf
        self.check(in_range, key, f"a number of at least {smallest}", example=example)


@dataclass
class LayerAdapterConfig(AdapterConfig):
    """The fields of every adapter on linear layers: which layers it adapts."""

    target_modules: Any = "${model.target_modules}"
    """Linear layers to adapt: suffixes of their names, one regular expression, or `all-linear`."""
    layers_to_transform: list[int] | None = None
    """Indices of the transformer blocks to adapt, such as `[0,1]`; by default all."""


@dataclass
class GoftAdapterConfig(LayerAdapterConfig):
    """Givens rotations on the inputs of the targeted linears (the paper's sections 4 and 5)."""

    peft_type: str = "GOFT"
    method: Method = Method.goft
    """`goft` learns d-1 angles for a layer with d inputs, `qgoft` d-1 free 2x2 blocks."""
    angle: Angle = Angle.tanh
    """How a parameter p becomes an angle: pi * tanh(p), or p itself."""
    scale: bool = False
    """Also learn one factor for each input (norm adjustment, GOFT*)."""
    penalty_weight: float | None = None
    """Weight of qGOFT's orthogonality penalty; 0.01 if not given. Strict rotations have none."""

    def __post_init__(self) -> None:
        if self.penalty_weight is None:
            self.penalty_weight = 0.0 if self.method is Method.goft else PENALTY_WEIGHT
        self.at_least("penalty_weight", 0, example=PENALTY_WEIGHT)

    def check_given(self) -> None:
        """Refuse a penalty for strict rotations."""
        if self.method is Method.goft and self.penalty_weight:
            raise GoftError(
                f"adapter.penalty_weight={self.penalty_weight}: expected none with "
                f"adapter={self.name}, whose rotations are orthogonal by construction",
                "leave it out, or pass adapter=qgoft",
            )

    @property
    def unsettled(self) -> set[str]:
        """Name the penalty's weight for strict rotations, which have no penalty."""
        return {"penalty_weight"} if self.method is Method.goft else set()

"""What every adapter shares, by what its size grows, and GOFT's own options."""

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
"""From the input features of the adapted layers to the sizes that fit them, ascending."""


@dataclass(frozen=True)
class Growth:
    """How the size of an adapter is chosen.

    Attributes:
        key: the field that sets it; whole numbers.
        sizes: what the field may be.
        along: fields that keep their proportion to it, whole ones rounded down.
    """

    key: str
    sizes: Sizes
    along: tuple[str, ...] = ()

    def fields_at(self, size: int, now: object) -> dict[str, float]:
        """Return the fields of an adapter of that size, in the proportions of the one `now`."""
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
    """Ranks that leave a lower one to end at."""
    return range(2, min(widths) + 1)


def even_ranks(widths: Sequence[int]) -> Sequence[int]:
    """Even ranks: pairs of reflections."""
    return range(2, min(widths) + 1, 2)


def blocks(widths: Sequence[int]) -> Sequence[int]:
    """Blocks that fit into every width a whole number of times."""
    whole = math.gcd(*widths)
    return [size for size in range(2, whole + 1) if whole % size == 0]


@dataclass
class AdapterConfig(Section):
    """What every adapter shares: its name and where it reads its hyperparameters."""

    prefix = "adapter."
    takes_packed: ClassVar[bool] = True
    """Whether it trains on weights that bitsandbytes packed."""

    growth: ClassVar[Growth | None] = None
    """By what it grows; None where its size is fixed."""

    name: str = MISSING
    """What tables, folders and recipes call it."""
    peft_type: str = MISSING
    """The PEFT method; further fields are those of its configuration class."""
    recipe: str = "${.name}"
    """Which row of the task's recipe, and of the model's budgets, applies."""
    fallback: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters where neither task nor model has a row for this adapter."""
    strength: float = 1.0
    """How much of the trained adapter is used: 0 the base model, 1 all. It trains at full strength;
    evaluation after the training, verification and exports take this one."""

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Return the fields of PEFT's configuration class, for a run of that many updates."""
        shared = {entry.name for entry in fields(AdapterConfig)}
        own = [entry.name for entry in fields(self) if entry.name not in shared]
        values = {name: getattr(self, name) for name in own}
        return {key: v.value if isinstance(v, Enum) else v for key, v in values.items()}

    @property
    def unsettled(self) -> set[str]:
        """Fields of PEFT's configuration class that this configuration alone does not tell."""
        return set()

    def check_given(self) -> None:
        """Refuse what a user gives and this adapter would not read.

        A run folder of an earlier version may hold such a value, so reading one does not ask.
        """

    def at_least(self, key: str, smallest: float, *, example: float) -> None:
        """Refuse a field below its smallest value."""
        in_range = smallest <= getattr(self, key) < math.inf
        self.check(in_range, key, f"a number of at least {smallest}", example=example)


@dataclass
class LayerAdapterConfig(AdapterConfig):
    """What every adapter on single linear layers shares: on which ones it sits."""

    target_modules: Any = "${model.target_modules}"
    """Which linear layers it is put on: endings of their names, one regular expression, or `all-
    linear`."""
    layers_to_transform: list[int] | None = None
    """Numbers of the blocks to adapt, such as `[0,1]`; all of them if not given."""


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
    """qGOFT's, `PENALTY_WEIGHT` if not given; 0 for strict rotations."""

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
        """Strict rotations have no penalty, whatever weight is written down."""
        return {"penalty_weight"} if self.method is Method.goft else set()

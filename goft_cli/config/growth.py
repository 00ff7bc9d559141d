"""By what an adapter grows, so that one can be made as large as another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        """Return the fields of an adapter of that size.

        Args:
            size: value of `key`.
            now: the adapter's configuration, whose proportions are kept.
        """
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

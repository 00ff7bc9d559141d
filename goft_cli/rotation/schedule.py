"""Which coordinates are paired at which stage, for any width."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Pairs (2 * stride * k, 2 * stride * k + stride) for k = 0 .. pairs - 1."""

    stride: int
    """Distance between the two coordinates of a pair: 1, 2, 4, ..."""
    pairs: int
    """Number of pairs, at least 1."""
    offset: int
    """Index of the first pair's parameter in the flat (d-1, ...) tensor."""

    @property
    def span(self) -> slice:
        """Where the parameters of this stage lie in the flat (d-1, ...) tensor."""
        return slice(self.offset, self.offset + self.pairs)


def schedule(dim: int) -> tuple[Stage, ...]:
    """Stages from fine to coarse; their pairs add up to dim - 1.

    Args:
        dim: number of coordinates, at least 1; it need not be a power of two. With an odd number of
            live coordinates the last one passes a stage unchanged.

    Returns:
        ceil(log2(dim)) stages; none for dim = 1.

    Raises:
        ValueError: dim < 1.

    Not cached: torch.compile warns of caches, and building it takes microseconds.
    The order is that of the authors' adapters ("parallel" Givens rotations), so those can be read.
    """
    if dim < 1:
        raise ValueError(
            f"schedule: dim={dim}, but a rotation needs at least one coordinate; "
            "leave empty layers out"
        )
    stages: list[Stage] = []
    stride, offset, live = 1, 0, dim
    while live > 1:
        stages.append(Stage(stride, live // 2, offset))
        offset += live // 2
        live -= live // 2
        stride *= 2
    return tuple(stages)

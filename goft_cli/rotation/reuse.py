"""Keep what an engine prepared while the rotation stays the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from goft_cli.rotation.engines import ENGINES


def can_keep(rotation: Tensor) -> bool:
    """Whether there are values to compare, and no graph that must lead back to the rotation."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or rotation.is_meta:
        return False
    return type(rotation) in (Tensor, nn.Parameter)


class Prepared:
    """What an engine prepared of one rotation, made anew as soon as a value of it changes.

    The values themselves are compared, which takes microseconds: version counters miss what is
    written through `.data`, as some optimizers do, and addresses are used again.
    """

    def __init__(self) -> None:
        self._made: tuple[Tensor, torch.dtype, str, tuple[Tensor, ...]] | None = None

    def get(self, rotation: Tensor, dtype: torch.dtype, engine: str) -> tuple[Tensor, ...]:
        """What `engine` prepares of the rotation for vectors of dtype, without gradients."""
        if self._made is not None:
            values, *made_for, prepared = self._made
            same = made_for == [dtype, engine] and values.device == rotation.device
            if same and torch.equal(values, rotation):
                return prepared
        values = rotation.detach().clone()
        prepared = ENGINES[engine].prepare(values, dtype)
        self._made = values, dtype, engine, prepared
        return prepared

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        return Prepared, ()  # copies and files start empty

    def clear(self) -> None:
        """Give the memory back."""
        self._made = None

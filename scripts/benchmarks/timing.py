"""Time several functions in turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Case = Callable[[], object]
"""One call of what is measured; a result, if any, is dropped before the next one starts."""


@dataclass(frozen=True)
class Samples:
    """Seconds of each round of one case."""

    seconds: tuple[float, ...]

    @property
    def low(self) -> float:
        """The first quartile."""
        return self._quantile(0.25)

    @property
    def median(self) -> float:
        """The middle: half of the rounds took longer."""
        return self._quantile(0.5)

    @property
    def high(self) -> float:
        """The third quartile."""
        return self._quantile(0.75)

    def _quantile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share))


def interleave(
    cases: Mapping[str, Case],
    rounds: int,
    sync: Callable[[], object] = lambda: None,
    enough: Callable[[], bool] = lambda: False,
) -> dict[str, Samples]:
    """Call each case once per round, after one call of each that is not counted.

    Every second round goes backwards, so that no case always finds the caches of the same other.

    Args:
        cases: by name.
        rounds: at least 1.
        sync: waits until the device is done; see `sync_of`.
        enough: asked before each round but the first whether it is left out.

    Returns:
        By name, in the order of the cases.
    """
    for case in cases.values():
        case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for index in range(rounds):
        if index and enough():
            break
        for name in list(cases)[:: -1 if index % 2 else 1]:
            sync()
            start = time.perf_counter()
            cases[name]()
            sync()
            seconds[name].append(time.perf_counter() - start)
    return {name: Samples(tuple(values)) for name, values in seconds.items()}


def sync_of(device: torch.device) -> Callable[[], object]:
    """What waits for the device; nothing for the CPU, which has finished when a call returns."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.get_device_module(device).synchronize(device)

"""Time several functions in turns, so that other load on the machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Case = Callable[[], object]
"""A function to time; its result, if any, is dropped before the next call."""


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
        """The median."""
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
    """Call each case once per round, after one call of each that is not timed.

    Every second round runs in reverse order, so that no case always finds the caches that the same
    other case has left.

    Args:
        cases: the functions, by name.
        rounds: number of rounds, at least 1.
        sync: waits until the device is done; see `sync_of`.
        enough: called before each round but the first; true ends the timing.

    Returns:
        Samples by name, in the order of the cases.
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
    """Return a function that waits for the device, or does nothing for the CPU."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.get_device_module(device).synchronize(device)

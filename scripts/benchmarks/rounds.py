"""Timing in interleaved rounds: every action once a round, in a fresh order each time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Action = Callable[[], object]
Tick = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How interleaved rounds are run."""

    rounds: int
    warmup: int
    """Rounds before the timed ones."""
    seed: int
    """Of the orders."""
    device: torch.device
    """A GPU is waited for on both sides of the clock."""

    @property
    def total(self) -> int:
        """Rounds, the warm-up included."""
        return self.warmup + self.rounds


def silent(_: str) -> None:
    """Report no progress."""


def interleave(
    actions: Mapping[str, Action], plan: Plan, tick: Tick = silent
) -> dict[str, list[float]]:
    """Time actions against each other.

    A machine that slows down or speeds up meanwhile does so for all of them; within a round they
    run in an order drawn anew, so that none always follows the same neighbour.

    Args:
        actions: what to time, by name.
        plan: how often, and where.
        tick: told a name before it runs.

    Returns:
        Seconds, one per round, for every name.
    """
    order, seconds = list(actions), {name: [] for name in actions}
    shuffle = random.Random(plan.seed).shuffle
    for index in range(plan.total):
        shuffle(order)
        for name in order:
            tick(name)
            took = clock(actions[name], plan.device)
            if index >= plan.warmup:
                seconds[name].append(took)
    return seconds


def clock(action: Action, device: torch.device) -> float:
    """Return the seconds that one call takes, until the device has finished."""
    wait(device)
    started = time.perf_counter()
    action()
    wait(device)
    return time.perf_counter() - started


def wait(device: torch.device) -> None:
    """Let a GPU finish what was asked of it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

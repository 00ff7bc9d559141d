"""How the examples of one update are shared out: over devices and accumulation steps.

A language model's gradient is a mean over all scored tokens of an update, so that sharing it out
otherwise changes memory and time, and the result by rounding alone.
"""

from __future__ import annotations

import os

from goft_cli.config import GlobalBatch
from goft_cli.system.errors import GoftError


def processes() -> int:
    """Return how many processes train together, as torchrun and accelerate say it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_batch(most: int, update: GlobalBatch | None, devices: int) -> int:
    """Return the size of one device's batch.

    Args:
        most: the recipe's size.
        update: examples of one update, if the task fixes them.
        devices: that share them out.

    Returns:
        the largest size up to `most` that shares them out evenly.
    """
    if update is None:
        return most
    share, rest = divmod(update.value, max(devices, 1))
    if rest:
        raise uneven(update, f"devices: {devices}")
    return max(size for size in range(1, most + 1) if share % size == 0)


def accumulation_steps(steps: int, size: int, update: GlobalBatch | None, devices: int) -> int:
    """Return how many batches a device takes for one update.

    Args:
        steps: the recipe's number.
        size: one device's batch.
        update: examples of one update, if the task fixes them.
        devices: that share them out.
    """
    if update is None or size < 1:  # a size out of range is refused with the other ranges
        return steps
    steps, rest = divmod(update.value, size * max(devices, 1))
    if rest:
        raise uneven(update, f"devices: {devices}, batch on each: {size}")
    return steps


def uneven(update: GlobalBatch, parts: str) -> GoftError:
    """Return the error for examples that do not divide."""
    return GoftError(
        f"task.global_batch={update.name}: {update.value} examples do not divide evenly ({parts})",
        "to decide yourself, pass trainer.per_device_train_batch_size and "
        "trainer.gradient_accumulation_steps",
    )

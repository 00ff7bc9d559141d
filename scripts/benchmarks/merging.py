"""Merging GOFT into weights of LLaMA2-7B's size: every adapted layer of the model, one by one."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.rounds import Tick, clock, silent
from benchmarks.summary import spread
from goft_cli.tuner import GoftConfig, GoftLayer

WIDTH, LAYERS = 4096, 32 * 4
"""q, k, v and o of 32 blocks."""


def merge_all(
    layers: int, width: int, dtype: torch.dtype, device: torch.device, tick: Tick = silent
) -> dict[str, object]:
    """Merge rotation after rotation into one and the same weight, put back after each.

    The weights of a whole model would not change the time but would fill the memory.

    Returns:
        Seconds of every merge, their spread in milliseconds and their sum.
    """
    linear = nn.Linear(width, width, bias=False, dtype=dtype, device=device).requires_grad_(False)
    config = GoftConfig(init_weights=False)
    seconds: list[float] = []
    for index in range(-1, layers):  # the first is for warming up
        tick(f"layer {max(index, 0)}")
        layer = GoftLayer(linear, "default", config)
        took = clock(layer.merge, device)
        layer.unmerge()
        if index >= 0:
            seconds.append(took)
    return {
        "layers": layers,
        "width": width,
        "seconds": seconds,
        "ms": spread([1000 * t for t in seconds]).as_dict(),
        "total_seconds": sum(seconds),
    }

"""Measure the time and the memory of merging a rotation into a square layer."""

from __future__ import annotations

import time

import torch
from torch import nn

from goft_cli.tuner import GoftConfig, GoftLayer
from goft_cli.tuner.config import Method
from scripts.benchmarks.memory import forget_peak, resident_peak
from scripts.benchmarks.timing import Samples, interleave, sync_of

LLAMA_LAYERS = 32 * 4
"""Adapted layers of LLaMA2-7B: query, key, value and output of 32 blocks."""


def random_layer(method: Method, width: int, dtype: torch.dtype, device: torch.device) -> GoftLayer:
    """Return a layer of random weight (width, width) with a rotation that is not the identity."""
    linear = nn.Linear(width, width, bias=False, dtype=dtype, device=device).requires_grad_(False)
    return GoftLayer(linear, "default", GoftConfig(method=method, init_weights=False))


def merge_once(layer: GoftLayer) -> None:
    """Merge, and restore the weight."""
    layer.merge()
    layer.unmerge()


def time_merges(layer: GoftLayer, rounds: int, device: torch.device) -> Samples:
    """Return the seconds of a merge; restoring the weight is included and takes microseconds."""
    cases = {"merge": lambda: merge_once(layer)}
    return interleave(cases, rounds, sync_of(device))["merge"]


def memory_of_merge(layer: GoftLayer, device: torch.device) -> int:
    """Return the peak bytes of a merge beyond the layer, the merged weight included."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        merge_once(layer)
        return torch.cuda.max_memory_allocated(device) - before
    forget_peak()
    before = resident_peak()
    merge_once(layer)
    return resident_peak() - before


def time_model(layer: GoftLayer, device: torch.device) -> float:
    """Return the seconds of merging one layer as often as LLaMA2-7B has adapted layers.

    The weights of a whole model would change the memory and not the time.
    """
    sync = sync_of(device)
    start = time.perf_counter()
    for _ in range(LLAMA_LAYERS):
        merge_once(layer)
    sync()
    return time.perf_counter() - start

"""Forward passes alone: every method beside the base model, before and after merging."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from benchmarks.methods import tensors
from benchmarks.rounds import Plan, Tick, clock, interleave, silent

BASE, MERGED = "base", "merged"
MERGES = 3
"""How often merging is timed, each time on a fresh copy."""


def forward(model: nn.Module, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
    """Return a forward pass without labels' gradients."""
    model.eval()

    def run() -> object:
        with torch.no_grad():
            return model(**inputs)

    return run


def unmerged(
    base: nn.Module,
    models: Mapping[str, nn.Module],
    inputs: Mapping[str, Tensor],
    plan: Plan,
    tick: Tick = silent,
) -> dict[str, list[float]]:
    """Return seconds per round of the base model and of every method, interleaved."""
    actions = {name: forward(model, inputs) for name, model in {BASE: base, **models}.items()}
    return interleave(actions, plan, tick)


def merged(
    base: nn.Module,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    plan: Plan,
) -> dict[str, list[float]]:
    """Merge a method and time the plain model that this leaves beside the base.

    Returns:
        Seconds: "base" and "merged" per round, "merge" once per merge.
    """
    # One merged copy at a time: each is dropped before the next is made.
    merges = [merge(model, plan.device)[1] for _ in range(MERGES - 1)]
    plain, last = merge(model, plan.device)
    actions = {BASE: forward(base, inputs), MERGED: forward(plain, inputs)}
    return {**interleave(actions, plan), "merge": [*merges, last]}


def merge(model: nn.Module, device: torch.device) -> tuple[nn.Module, float]:
    """Return the plain model that merging a copy leaves, and the seconds it took."""
    own = cast(Any, private_targets(model))
    seconds = clock(own.merge_and_unload, device)
    return own.get_base_model(), seconds


def private_targets(model: nn.Module) -> nn.Module:
    """Copy a model with adapters; only the weights that merging overwrites get memory of their own.

    PEFT merges in place, which would spoil the weights that all methods share.
    """
    layers = [m.get_base_layer() for m in model.modules() if isinstance(m, BaseTunerLayer)]
    overwritten = {id(t) for layer in layers for t in layer.parameters()}
    common = {id(t): t for t in tensors(model) if id(t) not in overwritten}
    return copy.deepcopy(model, memo=dict(common))

"""The sizes at which other adapters spend the same number of parameters on the same layers."""

from __future__ import annotations

from collections.abc import Sequence

from goft_cli.config.adapter import blocks, ranks
from goft_cli.planning.layers import AdaptedLayers
from goft_cli.studies.budget import closest


def lora_parameters(layers: Sequence[AdaptedLayers], rank: int) -> int:
    """Count LoRA's: two factors per layer."""
    return sum(rank * (one.inputs + one.outputs) * one.count for one in layers)


def oft_parameters(layers: Sequence[AdaptedLayers], block: int) -> int:
    """Count OFT's as PEFT stores them: the skew half of each block."""
    return sum(one.inputs * (block - 1) // 2 * one.count for one in layers)


def equivalents(layers: Sequence[AdaptedLayers], budget: int) -> dict[str, tuple[str, int]]:
    """Return the words that size LoRA and OFT nearest to a budget, and what they come to.

    Args:
        layers: that an adapter sits on; with none there is nothing to compare.
        budget: number of parameters, the head left out.
    """
    if not layers:
        return {}
    inputs = [one.inputs for one in layers]
    narrowest = [min(one.inputs, one.outputs) for one in layers]
    rank = closest(ranks(narrowest), budget, lambda size: lora_parameters(layers, size))
    found = {"lora": (f"adapter.r={rank}", lora_parameters(layers, rank))}
    if sizes := blocks(inputs):
        block = closest(sizes, budget, lambda size: oft_parameters(layers, size))
        found["oft"] = (f"adapter.oft_block_size={block}", oft_parameters(layers, block))
    return found

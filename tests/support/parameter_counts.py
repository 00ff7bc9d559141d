"""How many parameters each adapter trains, computed from the sizes of the adapted layers.

The adapters' sizes are the `fallback` values of their YAMLs, those for DeBERTaV3 in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PER_LINEAR: dict[str, Callable[[int, int], int]] = {
    "goft": lambda inputs, _: inputs - 1,
    "qgoft": lambda inputs, _: 4 * (inputs - 1),
    "goft-scaled": lambda inputs, _: 2 * inputs - 1,
    "lora": lambda inputs, outputs: 2 * (inputs + outputs),
    "adalora": lambda inputs, outputs: 3 * (inputs + 1 + outputs),  # A, E, B before pruning
    "oft": lambda inputs, _: inputs // 4 * 6,  # skew-symmetric blocks of 4 by 4
    "boft": lambda inputs, outputs: inputs // 4 * 16 + outputs,  # full 4 by 4 blocks, and scales
    "hra": lambda inputs, _: 4 * inputs,
    "dora": lambda inputs, outputs: 2 * (inputs + outputs) + outputs,  # LoRA's, and magnitudes
    "psoft": lambda _inputs, _outputs: 16 * 15 // 2 + 2 * 16,  # a rotation, and two scale vectors
    "road": lambda _, outputs: outputs,  # an angle and a scale per pair of outputs
    "vera": lambda _, outputs: 256 + outputs,  # a scale per row of both matrices
    "ia3": lambda _, outputs: outputs,
    "peft": lambda inputs, outputs: 2 * 8 * (inputs + outputs),  # LoHa's two products of rank 8
}


@dataclass(frozen=True)
class Encoder:
    """BERT or DeBERTa without its head: blocks of six linears and two layer norms."""

    blocks: int
    width: int
    inner: int
    embeddings: int
    """Rows of all embedding tables together."""
    further_norms: int

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of query, key, value, attention output, intermediate and output."""
        width, inner = self.width, self.inner
        return [*[(width, width)] * 4, (width, inner), (inner, width)] * self.blocks

    @property
    def norms(self) -> int:
        """Number of layer norms, in the blocks and outside of them."""
        return 2 * self.blocks + self.further_norms

    def trained(self, adapter: str) -> int:
        """Return how many parameters an adapter trains, without those of the head."""
        biases = sum(outputs for _, outputs in self.linears) + self.norms * self.width
        weights = sum(inputs * outputs for inputs, outputs in self.linears)
        weights += (self.embeddings + self.norms) * self.width
        whole = {"linear": 0, "bitfit": biases, "full": weights + biases}
        if adapter in whole:
            return whole[adapter]
        return sum(PER_LINEAR[adapter](*linear) for linear in self.linears)


SMALL = Encoder(blocks=2, width=16, inner=32, embeddings=16 + 32 + 2, further_norms=1)
"""The model of tests/support/small_runs.py."""
DEBERTA = Encoder(blocks=12, width=768, inner=3072, embeddings=128100 + 512, further_norms=2)
"""DeBERTaV3-base: words and relative positions, each followed by a layer norm."""

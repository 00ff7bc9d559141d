"""How a language model generates its answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from goft_cli.config.choices import Section
from goft_cli.system.errors import GoftError


@dataclass
class Decoding(Section):
    """How a model generates: greedily, unless a temperature is given."""

    max_new_tokens: int = 256
    """Longest generated answer, in tokens."""
    temperature: float = 0.0
    """Sampling temperature; 0 decodes greedily."""
    top_p: float | None = None
    """Sample from the likeliest tokens of this total probability; by default the model's own."""
    seed: int = 0
    """Seed of the sampling; a row's random numbers do not depend on its batch."""
    stop: list[str] = field(default_factory=list)
    """Texts that end an answer and are not part of it; `\\n` in them is a line break."""

    def __post_init__(self) -> None:
        self.check_decoding()
        if self.top_p is not None and self.temperature == 0:
            raise GoftError(
                f"{self.prefix}top_p={self.top_p} has no effect: {self.prefix}temperature=0 "
                "always takes the likeliest token",
                f"pass {self.prefix}temperature=0.7 too, or drop {self.prefix}top_p",
            )

    def check_decoding(self) -> None:
        """Refuse values out of range, and read the line breaks and tabs of the stop words."""
        self.check(self.max_new_tokens > 0, "max_new_tokens", "at least 1", example=256)
        self.check(0 <= self.temperature < math.inf, "temperature", "at least 0", example=0.7)
        share = self.top_p is None or 0 < self.top_p <= 1
        self.check(share, "top_p", "above 0 and at most 1", example=0.9)
        self.check(all(self.stop), "stop", "texts that are not empty", example="[END]")
        self.stop = [word.replace("\\n", "\n").replace("\\t", "\t") for word in self.stop]

"""How a language model writes its answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from goft_cli.config.choices import Section
from goft_cli.system.errors import GoftError


@dataclass
class Decoding(Section):
    """How a model writes its answers: the likeliest token always, unless a temperature is given."""

    max_new_tokens: int = 256
    """Where an answer is broken off, if the task's model answers in words."""
    temperature: float = 0.0
    """Above 0, tokens are drawn at random, the more so the higher; 0 takes the likeliest always."""
    top_p: float | None = None
    """Draw among the likeliest tokens of this total probability; by default as the model says."""
    seed: int = 0
    """Of what is drawn; each row has numbers of its own, whatever the batch it is in."""
    stop: list[str] = field(default_factory=list)
    """Texts that end an answer and are not part of it; in them `\\n` is a line break."""

    def __post_init__(self) -> None:
        self.check_decoding()
        if self.top_p is not None and self.temperature == 0:
            raise GoftError(
                f"{self.prefix}top_p={self.top_p} has no effect, as {self.prefix}temperature=0 "
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

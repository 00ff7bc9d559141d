"""What trains on the frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from goft_cli.config.checks import check
from goft_cli.config.choices import Angle, Method


@dataclass
class AdapterConfig:
    """What every adapter shares: its name and where it reads its hyperparameters."""

    name: str = MISSING
    peft_type: str = MISSING
    """The PEFT method; further fields are those of its configuration class."""
    recipe: str = "${.name}"
    """Which row of the task's recipe applies."""
    fallback: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters for tasks whose recipe has no row for this adapter."""


@dataclass
class GoftAdapterConfig(AdapterConfig):
    """Givens rotations on the inputs of the targeted linears (the paper's sections 4 and 5)."""

    peft_type: str = "GOFT"
    method: Method = Method.goft
    angle: Angle = Angle.tanh
    scale: bool = False
    penalty_weight: float = 0.0
    target_modules: Any = "${model.target_modules}"
    layers_to_transform: list[int] | None = None

    def __post_init__(self) -> None:
        """Check the ranges of GOFT."""
        check(
            self.penalty_weight >= 0,
            key="adapter.penalty_weight",
            value=self.penalty_weight,
            expected="a number of at least 0",
            example=0.01,
        )


@dataclass
class LoraAdapterConfig(AdapterConfig):
    """PEFT's LoRA."""

    peft_type: str = "LORA"
    r: int = 2
    lora_alpha: float = 8.0
    lora_dropout: float = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: Any = "${model.target_modules}"
    layers_to_transform: list[int] | None = None

    def __post_init__(self) -> None:
        """Check the ranges of LoRA."""
        check(
            self.r >= 1, key="adapter.r", value=self.r, expected="a rank of at least 1", example=8
        )


@dataclass
class LinearProbeConfig(AdapterConfig):
    """No adapter: the backbone stays frozen and only the head trains.

    PEFT has no such method, but any method whose targets carry this reserved name adapts nothing
    and still trains and saves the head.
    """

    peft_type: str = "LORA"
    target_modules: str = "dummy-target-modules"

"""What trains without a layer of its own: the head alone, the biases, or the whole model."""

from __future__ import annotations

from dataclasses import dataclass

from goft_cli.config.adapter import AdapterConfig
from goft_cli.config.checks import check

NO_LAYERS = "dummy-target-modules"
"""PEFT's name for no layers at all."""
ALL_MODULES = "all"


@dataclass
class NoLayersConfig(AdapterConfig):
    """No adapter layers: some of the model's own weights train beside the head.

    PEFT has no such method, but any method whose targets carry this reserved name adapts nothing
    and still trains and saves what else it is told to.
    """

    peft_type: str = "LORA"
    target_modules: str = NO_LAYERS
    """A reserved name: no layer is adapted."""

    def __post_init__(self) -> None:
        """Check that nobody names layers to adapt."""
        self.only("target_modules", NO_LAYERS)

    def only(self, key: str, value: str) -> None:
        """Refuse any other value of a field that says what kind of adapter this is."""
        found = getattr(self, key)
        check(
            found == value,
            key=f"adapter.{key}",
            value=found,
            expected=f"{value} for adapter={self.name}",
            example=value,
        )


@dataclass
class LinearProbeConfig(NoLayersConfig):
    """Linear probe: the backbone stays frozen and only the head trains."""


@dataclass
class BitFitConfig(NoLayersConfig):
    """BitFit: every bias of the model trains, those of layer norms included."""

    bias: str = "all"
    """Which biases train."""


@dataclass
class FullConfig(NoLayersConfig):
    """Full fine-tuning: every weight trains, as if the whole model were its head."""

    takes_packed = False
    modules_to_save: str = ALL_MODULES
    """Which modules train."""

    def __post_init__(self) -> None:
        """Check that nobody names only some of the modules."""
        super().__post_init__()
        self.only("modules_to_save", ALL_MODULES)

"""Adapters that GOFT is compared with: PEFT's own, and methods without adapter layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from goft_cli.config.adapter import (
    AdapterConfig,
    Growth,
    LayerAdapterConfig,
    blocks,
    even_ranks,
    ranks,
    ranks_to_lower,
)
from goft_cli.config.choices import OPEN
from goft_cli.system.errors import GoftError

NO_LAYERS = "dummy-target-modules"
"""PEFT's name for no layers at all."""
ALL_MODULES = "all"


@dataclass
class LoraAdapterConfig(LayerAdapterConfig):
    """PEFT's LoRA."""

    growth = Growth("r", ranks, along=("lora_alpha",))
    peft_type: str = "LORA"
    r: int = MISSING
    """Rank of the update."""
    lora_alpha: float = MISSING
    """The update is multiplied by lora_alpha / r."""
    lora_dropout: float = 0.0
    """Dropout probability of the adapter's inputs."""
    use_rslora: bool = False
    """Multiply by lora_alpha / sqrt(r) instead of lora_alpha / r."""
    use_dora: bool = False
    """Learn magnitude and direction of the weights separately (DoRA)."""

    def __post_init__(self) -> None:
        self.at_least("r", 1, example=8)


@dataclass
class AdaLoraAdapterConfig(LayerAdapterConfig):
    """PEFT's AdaLoRA: LoRA with singular values E; the least important ones are dropped.

    The first `tinit` and the last `tfinal` updates drop none; in between, the mean rank falls
    from `init_r` to `target_r`, one step every `deltaT` updates.
    """

    growth = Growth("init_r", ranks_to_lower, along=("target_r", "lora_alpha"))
    peft_type: str = "ADALORA"
    init_r: int = MISSING
    """Rank of each layer at the start."""
    target_r: int = MISSING
    """Mean rank of the layers at the end."""
    lora_alpha: float = MISSING
    """The update is multiplied by lora_alpha / rank."""
    lora_dropout: float = 0.0
    """Dropout probability of the adapter's inputs."""
    tinit: float = MISSING
    """Updates before the first rank is dropped; a value below 1 is a share of all updates."""
    tfinal: float = MISSING
    """Updates at the end that drop no rank; a value below 1 is a share of all updates."""
    deltaT: int = MISSING  # noqa: N815 - PEFT's name
    """Updates between two drops of ranks."""
    beta1: float = 0.85
    """Decay of the running mean of a weight's importance."""
    beta2: float = 0.85
    """Decay of the running mean of that importance's uncertainty."""
    orth_reg_weight: float = MISSING
    """Weight of AdaLoRA's orthogonality penalty in the training loss."""

    def __post_init__(self) -> None:
        self.at_least("target_r", 1, example=2)
        self.at_least("init_r", self.target_r + 1, example=self.target_r + 1)
        self.at_least("tinit", 0, example=0.1)
        self.at_least("deltaT", 1, example=10)
        self.at_least("orth_reg_weight", 0, example=0.1)
        for key in ("beta1", "beta2"):
            self.check(0 < getattr(self, key) < 1, key, "between 0 and 1", example=0.85)
        reached = "above 0, because the ranks reach target_r only then"
        self.check(self.tfinal > 0, "tfinal", reached, example=0.5)

    @property
    def unsettled(self) -> set[str]:
        """Name the fields of the schedule, which depend on the number of updates."""
        return {"tinit", "tfinal", "total_step"}

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Return the options with shares converted to updates, and the number of updates."""
        tinit = counted(self.tinit, updates)
        tfinal = max(1, counted(self.tfinal, updates))
        if tinit + tfinal >= updates:
            raise GoftError(
                f"adapter.tinit={self.tinit:g} and adapter.tfinal={self.tfinal:g}: none of the "
                f"run's {updates} updates is left to lower the ranks",
                "pass smaller ones",
            )
        schedule = {"tinit": tinit, "tfinal": tfinal, "total_step": updates}
        return {**super().peft_options(updates), **schedule}


@dataclass
class OftAdapterConfig(LayerAdapterConfig):
    """PEFT's OFT: a block-diagonal rotation, each block the Cayley transform of a skew matrix.

    A block of size b has b(b-1)/2 parameters in PEFT; the paper counts b*b.
    """

    growth = Growth("oft_block_size", blocks)
    peft_type: str = "OFT"
    oft_block_size: int = MISSING
    """Width of the diagonal blocks; it must divide the width of each layer."""
    module_dropout: float = 0.0
    """Share of the blocks that training replaces by the identity."""
    block_share: bool = False
    """Share one block's parameters among all blocks of a layer."""
    use_cayley_neumann: bool = False
    """Use a Neumann series instead of the inverse: faster, but only nearly orthogonal."""

    def __post_init__(self) -> None:
        self.at_least("oft_block_size", 2, example=4)


@dataclass
class BoftAdapterConfig(LayerAdapterConfig):
    """PEFT's BOFT: a product of block-diagonal rotations in butterfly order, and output scales."""

    growth = Growth("boft_block_size", blocks)
    peft_type: str = "BOFT"
    boft_block_size: int = MISSING
    """Width of the diagonal blocks; it must divide the width of each layer."""
    boft_n_butterfly_factor: int = 1
    """Number of butterfly factors; more than one needs PEFT's CUDA extension, compiled on first
    use."""
    boft_dropout: float = 0.0
    """Share of the blocks that training replaces by the identity."""

    def __post_init__(self) -> None:
        self.at_least("boft_block_size", 2, example=4)
        self.at_least("boft_n_butterfly_factor", 1, example=1)


@dataclass
class HraAdapterConfig(LayerAdapterConfig):
    """PEFT's HRA: a product of r Householder reflections."""

    takes_packed = False
    growth = Growth("r", even_ranks)
    peft_type: str = "HRA"
    r: int = MISSING
    """Number of reflections, an even one."""
    apply_GS: bool = False  # noqa: N815 - PEFT's name
    """Make the reflections orthogonal to one another (Gram-Schmidt)."""

    def __post_init__(self) -> None:
        # only pairs of equal reflections start at the identity
        self.check(self.r >= 2 and self.r % 2 == 0, "r", "an even number of reflections", example=4)


@dataclass
class PeftAdapterConfig(LayerAdapterConfig):
    """Any layer-wise method of the installed PEFT, by its PEFT name."""

    takes_packed = False
    peft_type: str = "${.type}"
    type: str = MISSING
    """PEFT's name of the method, such as `ROAD`."""
    config: dict[str, Any] = field(default_factory=dict, metadata=OPEN)
    """Options of its configuration class, such as `{variant: road_2}`; the rest have defaults."""

    def __post_init__(self) -> None:
        self.type = self.peft_type = self.type.upper()

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Return its options; not every method has `layers_to_transform`."""
        shared = super().peft_options(updates)
        given = {key: shared[key] for key in ("target_modules", "layers_to_transform")}
        return {key: value for key, value in given.items() if value is not None} | self.config


def counted(amount: float, updates: int) -> int:
    """Return a number of updates; an amount below 1 is a share of all updates."""
    return round(amount * updates if amount < 1 else amount)


@dataclass
class NoLayersConfig(AdapterConfig):
    """No adapter layers: some of the model's own weights train, and the head.

    PEFT has no such method, but a method with this reserved name as its target adapts no layer
    and still trains and saves `bias` and `modules_to_save`.
    """

    peft_type: str = "LORA"
    target_modules: str = NO_LAYERS
    """A reserved name: no layer is adapted."""

    def __post_init__(self) -> None:
        self.only("target_modules", NO_LAYERS)

    def only(self, key: str, value: str) -> None:
        """Refuse any other value of a field that this kind of adapter fixes."""
        only = f"{value} for adapter={self.name}"
        self.check(getattr(self, key) == value, key, only, example=value)


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
        super().__post_init__()
        self.only("modules_to_save", ALL_MODULES)

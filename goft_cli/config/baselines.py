"""Adapters that GOFT is compared with: PEFT's own, and what trains without turning a layer."""

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
    """Share of the adapter's inputs that is dropped in training."""
    use_rslora: bool = False
    """Multiply by lora_alpha / sqrt(r) in place of lora_alpha / r."""
    use_dora: bool = False
    """Learn the lengths of the weights apart from their directions (DoRA)."""

    def __post_init__(self) -> None:
        self.at_least("r", 1, example=8)


@dataclass
class AdaLoraAdapterConfig(LayerAdapterConfig):
    """PEFT's AdaLoRA: LoRA as A, E, B with singular values E, the least important of them dropped.

    Until `tinit` updates nothing is dropped, from `tfinal` updates before the end nothing more;
    in between, every `deltaT` updates, the mean rank falls from `init_r` to `target_r`.
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
    """Share of the adapter's inputs that is dropped in training."""
    tinit: float = MISSING
    """Updates, or below 1 the share of all updates; `tfinal` likewise."""
    tfinal: float = MISSING
    """Updates at the end in which no rank is dropped; below 1 a share of all updates."""
    deltaT: int = MISSING  # noqa: N815 - PEFT's name
    """Updates between two times that ranks are dropped."""
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
        reached = "above 0, for only then the ranks reach target_r"
        self.check(self.tfinal > 0, "tfinal", reached, example=0.5)

    @property
    def unsettled(self) -> set[str]:
        """The schedule, which follows the number of updates."""
        return {"tinit", "tfinal", "total_step"}

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Turn shares into updates, and add how many there are."""
        tinit = counted(self.tinit, updates)
        tfinal = max(1, counted(self.tfinal, updates))
        if tinit + tfinal >= updates:
            raise GoftError(
                f"adapter.tinit={self.tinit:g} and adapter.tfinal={self.tfinal:g} leave none of "
                f"the run's {updates} updates to lower the ranks in",
                "pass smaller ones",
            )
        schedule = {"tinit": tinit, "tfinal": tfinal, "total_step": updates}
        return {**super().peft_options(updates), **schedule}


@dataclass
class OftAdapterConfig(LayerAdapterConfig):
    """PEFT's OFT: a block-diagonal rotation, each block the Cayley transform of a skew matrix.

    A block of size b has b(b-1)/2 parameters here; the paper counts b*b.
    """

    growth = Growth("oft_block_size", blocks)
    peft_type: str = "OFT"
    oft_block_size: int = MISSING
    """Width of the diagonal blocks; it must divide the width of each layer."""
    module_dropout: float = 0.0
    """Share of the blocks that is replaced by the identity in training."""
    block_share: bool = False
    """Let all blocks of a layer share their parameters."""
    use_cayley_neumann: bool = False
    """A series in place of the inverse: quicker, but only nearly orthogonal."""

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
    """More than one needs PEFT's CUDA extension, compiled on first use."""
    boft_dropout: float = 0.0
    """Share of the blocks that is replaced by the identity in training."""

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
    """Any method of the installed PEFT that is put on layers, by its name there."""

    takes_packed = False
    peft_type: str = "${.type}"
    type: str = MISSING
    """PEFT's name of the method, such as `ROAD`."""
    config: dict[str, Any] = field(default_factory=dict, metadata=OPEN)
    """Options of its configuration class, such as `{variant: road_2}`, beside its defaults."""

    def __post_init__(self) -> None:
        self.type = self.peft_type = self.type.upper()

    def peft_options(self, updates: int) -> dict[str, Any]:
        """Return its options, of which not every method has `layers_to_transform`."""
        shared = super().peft_options(updates)
        given = {key: shared[key] for key in ("target_modules", "layers_to_transform")}
        return {key: value for key, value in given.items() if value is not None} | self.config


def counted(amount: float, updates: int) -> int:
    """Return a number of updates, given as such or below 1 as a share of all of them."""
    return round(amount * updates if amount < 1 else amount)


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
        self.only("target_modules", NO_LAYERS)

    def only(self, key: str, value: str) -> None:
        """Refuse any other value of a field that says what kind of adapter this is."""
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

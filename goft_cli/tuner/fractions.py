"""Fractions of a trained adapter, method by method; `set_strength` uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.boft.layer import Linear as BoftLinear
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.oft.layer import OFTLayer, OFTRotationModule
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from goft_cli.rotation import polar_parts
from goft_cli.tuner.layer import GoftLayer

STRENGTH = "goft_strength"
"""Attribute of a module: the strength of each adapter that is not at 1."""
BASE = "goft_base"
"""Attribute of a module whose own weights train: by adapter and name, the base model's values."""
TRAINED = "goft_trained"
"""Attribute of a module: by adapter, the trained values that a strength has replaced."""


def own(module: object, attribute: str) -> Mapping[str, Any]:
    """Return the values that `keep` stored on this module, not on one that it wraps."""
    return vars(module).get(attribute, {})


def keep(module: object, attribute: str, adapter: str, value: object) -> None:
    """Store a value for an adapter on a module, outside of its state_dict; None removes it."""
    others = {name: one for name, one in own(module, attribute).items() if name != adapter}
    setattr(module, attribute, others if value is None else {**others, adapter: value})


def one_strength(module: object, adapter: str) -> float:
    """Return the strength of an adapter on one module."""
    return own(module, STRENGTH).get(adapter, 1.0)


class Way(NamedTuple):
    """How one kind of module uses a fraction: a function that finds problems, and one that acts."""

    problem: Callable[[Any, str], str | None]
    apply: Callable[[Any, str, float], None]


def way_of(module: nn.Module) -> Way:
    """Return the `Way` for a module."""
    if own(module, BASE):
        return INTERPOLATION
    return next((way for kind, way in WAYS.items() if isinstance(module, kind)), NO_WAY)


def goft_problem(layer: GoftLayer, adapter: str) -> str | None:
    """Name a block or factor without fractional powers; None if there is none."""
    rotation, scale = layer.goft_rotation[adapter].detach(), layer.goft_scale.get(adapter)
    if rotation.is_meta:  # the untrained model of `goft plan`
        return None
    if rotation.dim() == 3 and not (polar_parts(rotation)[2] > 0).all():
        return (
            "qGOFT has learnt a block whose determinant is not positive, and no path of rotations "
            "and stretches leads to it; pass strength=1"
        )
    return None if scale is None else factor_problem("GOFT", scale)


def factor_problem(method: str, factors: Tensor) -> str | None:
    """Name a factor that is not positive; None if there is none."""
    least = float(factors.detach().amin())
    return (
        None
        if least > 0
        else f"{method} has learnt the factor {least:.3g}, not above 0; pass strength=1"
    )


def lora_problem(layer: LoraLayer, adapter: str) -> str | None:
    """Name a LoRA variant that does more than add a product of two factors; None for others."""
    variant = layer.lora_variant.get(adapter)
    if variant is None:
        return None
    name = type(variant).__name__.removesuffix("LinearVariant")
    return f"{name} does more than add an update, and has no known fraction; pass strength=1"


def scale_update(layer: LoraLayer, adapter: str, strength: float) -> None:
    """Multiply the scaling of LoRA or AdaLoRA."""
    trained = own(layer, TRAINED).get(adapter, layer.scaling[adapter])
    layer.scaling[adapter] = trained if strength == 1 else strength * trained
    keep(layer, TRAINED, adapter, None if strength == 1 else trained)


class FractionOfOft(OFTRotationModule):
    """PEFT's OFT, its skew matrices multiplied by `strength`."""

    strength: float

    def _cayley_batch(self, Q: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401, N803 - PEFT's own
        return super()._cayley_batch(self.strength * Q, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Turn x (..., in); at strength 0 return x itself, because a product with 1 may round."""
        return x if self.strength == 0 else super().forward(x)


def turn_oft(layer: OFTLayer, adapter: str, strength: float) -> None:
    """Turn by a fraction of OFT's rotation."""
    rotation: Any = {**layer.oft_R, **layer.oft_embedding_R}[adapter]
    rotation.__class__ = OFTRotationModule if strength == 1 else FractionOfOft
    rotation.strength = strength


class FractionOfBoft(BoftLinear):
    """PEFT's BOFT; at strength 0 it is skipped, because its sums would round the output."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - passed on
        """(..., in) to (..., out)."""
        active = [name for name in self.active_adapters if name in self.boft_R]
        idle = not self.merged and all(one_strength(self, name) == 0 for name in active)
        return self.base_layer(x, *args, **kwargs) if idle else super().forward(x, *args, **kwargs)


def boft_problem(layer: BOFTLayer, adapter: str) -> str | None:
    """Name a factor that is not positive, or a layer that is not linear; None if there is none."""
    if not isinstance(layer, BoftLinear):
        return f"no fraction of BOFT is known on a {type(layer).__name__}; pass strength=1"
    factors = layer.boft_s[adapter]
    return None if factors.is_meta else factor_problem("BOFT", factors)


@torch.no_grad()
def turn_boft(layer: BoftLinear, adapter: str, strength: float) -> None:
    """Turn by a fraction of BOFT's rotations, with its factors to that power."""
    parameters = layer.boft_R[adapter], layer.boft_s[adapter]
    trained = own(layer, TRAINED).get(adapter) or [one.detach().clone() for one in parameters]
    skew, factors = (one.to(now.device) for one, now in zip(trained, parameters, strict=True))
    parameters[0].copy_(skew if strength == 1 else strength * skew)
    parameters[1].copy_(factors if strength == 1 else factors**strength)
    keep(layer, TRAINED, adapter, None if strength == 1 else trained)
    layer.__class__ = FractionOfBoft if own(layer, TRAINED) else BoftLinear


@torch.no_grad()
def interpolate(module: nn.Module, adapter: str, strength: float) -> None:
    """Put W + strength (W* - W) in place of weights that trained whole, rounded once.

    What is no floating point number is the base model's at 0, and else as trained.
    """
    base = own(module, BASE)[adapter]
    wrapped = isinstance(module, ModulesToSaveWrapper)
    now = (module.modules_to_save[adapter] if wrapped else module).state_dict(keep_vars=True)
    trained = own(module, TRAINED).get(adapter)
    trained = trained or {name: now[name].detach().clone() for name in base}
    for name, start in base.items():
        now[name].copy_(between(start.to(now[name].device), trained[name], strength))
    keep(module, TRAINED, adapter, None if strength == 1 else trained)


def between(start: Tensor, end: Tensor, strength: float) -> Tensor:
    """Interpolate between tensors of one shape."""
    if strength in (0, 1) or not end.is_floating_point():
        return start if strength == 0 else end
    wide = torch.promote_types(end.dtype, torch.float32)
    return torch.lerp(start.to(wide), end.to(start.device, wide), strength)


def no_problem(module: nn.Module, adapter: str) -> None:
    """Find nothing against a fraction."""


def method_problem(layer: nn.Module, adapter: str) -> str:
    """Return the sentence that no fraction of this method is known."""
    method = type(layer).__module__.split(".")[-2].upper()
    reflections = "is a product of reflections, and no path of such products leads to the identity"
    unknown = "has no fraction that is known to end at the base model"
    return f"{method} {reflections if method == 'HRA' else unknown}; pass strength=1"


def nothing(module: nn.Module, adapter: str, strength: float) -> None:
    """Do nothing: the layer reads its strength in `forward`."""


INTERPOLATION = Way(no_problem, interpolate)
NO_WAY = Way(method_problem, nothing)
WAYS: dict[type[Any], Way] = {
    GoftLayer: Way(goft_problem, nothing),
    LoraLayer: Way(lora_problem, scale_update),
    OFTLayer: Way(no_problem, turn_oft),
    BOFTLayer: Way(boft_problem, turn_boft),
}
"""The `Way` of each kind of layer."""

"""Statistics of each layer's rotation: its angles, and its distance from an exact rotation.

Everything is computed from detached parameters in float32 or wider, so it can be called while
training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli.rotation import rotate_transposed, schedule
from goft_cli.tuner.layer import GoftLayer

PROBES = 64
"""Orthonormal vectors on which the composed map is measured, in place of a basis of R^d."""

ENERGY_NEURONS = 2048
"""Most neurons of a layer to measure; if it has more, evenly spaced ones."""

WRAPPER = "base_model.model."
"""Prefix that PEFT adds to the names of the plain model's modules."""


@dataclass(frozen=True)
class RotationGeometry:
    """One layer's map x -> diag(scale) R^T x, pair by pair and as a whole."""

    angles: Tensor
    """(d-1,) radians in [-pi, pi]: the angle of each pair; for a quasi block, that of the nearest
    rotation."""
    deviations: Tensor
    """(d-1,) spectral distance of each 2x2 block from that rotation. 0.05 means that the block
    changes lengths by up to 5%; 0 for strict rotations."""
    orthogonality_error: float
    """Largest entry of |T^T T - I| for the whole map T, on `PROBES` orthonormal vectors or, in
    fewer dimensions, on a basis. Only rounding error if R is strict."""

    def by_stage(self) -> tuple[Tensor, ...]:
        """Return the angles of each stage, from neighbouring coordinates to the coarsest pair."""
        return tuple(self.angles[stage.span] for stage in schedule(len(self.angles) + 1))


@dataclass(frozen=True)
class NeuronChange:
    """How an adapter changes the weights of each output (neuron)."""

    angles: Tensor
    """(out,) radians in [0, pi] between a neuron's weights before and after."""
    norm_ratios: Tensor
    """(out,) length after over length before; 1 for a strict rotation."""


@torch.no_grad()
def hyperspherical_energy(weight: Tensor) -> float:
    """Return the mean of 1 / distance over pairs of neurons, rows of (out, in) scaled to length 1.

    A rotation of the inputs does not change it; orthogonal fine-tuning aims at that. Rows of zeros
    are left out. Liu et al., NeurIPS 2018, arXiv:1805.09298, with s = 1; infinite if two neurons
    coincide.
    """
    rows = weight.detach()[:: -(-len(weight) // ENERGY_NEURONS)].double()
    lengths = rows.norm(dim=1, keepdim=True)
    kept = lengths.squeeze(1) > 0
    return float(torch.pdist(rows[kept] / lengths[kept]).reciprocal().mean())


@torch.no_grad()
def rotation_geometry(rotation: Tensor, scale: Tensor | None = None) -> RotationGeometry:
    """Measure (d-1,) angles in radians, or (d-1, 2, 2) quasi blocks, and (d,) factors, if any."""
    wide = rotation.detach().to(torch.promote_types(rotation.dtype, torch.float32))
    if wide.dim() == 3:
        angles, deviations = nearest_rotations(wide)
    else:
        angles, deviations = torch.atan2(wide.sin(), wide.cos()), torch.zeros_like(wide)
    return RotationGeometry(angles, deviations, orthogonality_error(wide, scale))


def nearest_rotations(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return angle (p,) and spectral distance (p,) of the rotation nearest to each (p, 2, 2) block.

    A block [[a1, b1], [a2, b2]] is q times a rotation plus r times a reflection, q, r >= 0; its
    singular values, the second one with the sign of its determinant, are q + r and q - r.
    """
    a1, b1, a2, b2 = blocks.reshape(-1, 4).unbind(-1)
    even, odd = (a1 + b2) / 2, (a2 - b1) / 2
    turning = torch.hypot(even, odd)
    reflecting = torch.hypot((a1 - b2) / 2, (a2 + b1) / 2)
    return torch.atan2(odd, even), (turning - 1).abs() + reflecting


@torch.no_grad()
def orthogonality_error(rotation: Tensor, scale: Tensor | None = None) -> float:
    """Return the largest entry of |T^T T - I| for T = diag(scale) R^T, on orthonormal probes."""
    dim = len(rotation) + 1
    # on the CPU, so that a layer's figure is the same on every device
    probes = orthonormal(min(PROBES, dim), dim, rotation.dtype).to(rotation.device)
    images = rotate_transposed(probes, rotation)
    if scale is not None:
        images = images * scale.to(images)
    # in float64 on the CPU: the products must add no rounding, in particular not TF32's
    wide = images.cpu().double()
    return float((wide @ wide.T - torch.eye(len(wide))).abs().max())


@cache
def orthonormal(count: int, dim: int, dtype: torch.dtype) -> Tensor:
    """Return (count, dim) rows of a random orthonormal set, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(dim, count, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(gaussian).Q.T.to(dtype)


@torch.no_grad()
def neuron_change(before: Tensor, after: Tensor) -> NeuronChange:
    """Compare the rows of two weights (out, in), a layer's before and after its adapter."""
    old = before.detach().float()
    new = after.detach().to(old.device).float()
    tiny = torch.finfo(torch.float32).tiny
    lengths = old.norm(dim=1).clamp_min(tiny), new.norm(dim=1).clamp_min(tiny)
    one, other = old / lengths[0][:, None], new / lengths[1][:, None]
    # an arc cosine would lose the small angles to rounding
    angles = 2 * torch.atan2((one - other).norm(dim=1), (one + other).norm(dim=1))
    return NeuronChange(angles, lengths[1] / lengths[0])


def rotation_geometries(model: nn.Module, adapter: str = "default") -> dict[str, RotationGeometry]:
    """Measure every GOFT layer, by its name in the plain model; none for another adapter.

    A layer of one input has no pair to turn and is left out.
    """
    return {
        name.removeprefix(WRAPPER): rotation_geometry(layer.rotation(adapter), layer.scale(adapter))
        for name, layer in model.named_modules()
        if isinstance(layer, GoftLayer) and len(layer.goft_rotation.get(adapter, ()))
    }


def adapted_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the base weight (out, in) of each adapted layer, by its name in the plain model.

    They are the model's own tensors, not copies; merging replaces them and does not change these.
    Experts, whose weights PEFT adapts as one tensor of all of them, are left out.
    """
    return {
        name.removeprefix(WRAPPER): neurons(layer.get_base_layer())
        for name, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer) and not isinstance(layer, ParamWrapper)
    }


def neuron_changes(before: Mapping[str, Tensor], merged: nn.Module) -> dict[str, NeuronChange]:
    """Compare what `adapted_weights` found with the same layers of the merged model, by name."""
    return {
        name: neuron_change(weight, neurons(merged.get_submodule(name)))
        for name, weight in before.items()
    }


def neurons(layer: nn.Module) -> Tensor:
    """Return a linear layer's weight with one row per output, however it is stored."""
    weight = layer.get_parameter("weight").detach()
    return weight.T if isinstance(layer, Conv1D) else weight


def geometry_scalars(model: nn.Module) -> dict[str, float]:
    """Return a few statistics by name of a model's rotations; the model must not be sharded.

    Mean and largest |angle| of a pair in degrees, over all layers; the largest orthogonality error
    of a layer; the largest deviation of a block from a rotation. Another adapter gives none.
    """
    found = rotation_geometries(model)
    if not found:
        return {}
    angles = torch.cat([one.angles.abs().cpu() for one in found.values()])
    return {
        "geometry/angle_mean": math.degrees(angles.mean()),
        "geometry/angle_max": math.degrees(angles.max()),
        "geometry/orthogonality_error": max(one.orthogonality_error for one in found.values()),
        "geometry/deviation_max": max(float(one.deviations.max()) for one in found.values()),
    }

"""An adapter at strength 0 or 1 is exact, and in between it equals its dense definition."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli import GoftConfig, GoftLayer, set_strength, strength_of
from goft_cli.config.choices import STRONGEST
from goft_cli.rotation import fraction_of, rotate, schedule

FRACTIONS = st.floats(0, STRONGEST)
WIDTHS = st.integers(2, 40)
SEEDS = st.integers(0, 2**16)
WIDE = torch.float64
FEW = settings(max_examples=10)


def turned_densely(blocks: list[Tensor], dim: int) -> Tensor:
    """Return R (dim, dim), float64, as the product of its pairs' blocks, stage by stage."""
    whole = torch.eye(dim, dtype=WIDE)
    for stage in schedule(dim):
        for k in range(stage.pairs):
            i = 2 * stage.stride * k
            pair, turn = [i, i + stage.stride], torch.eye(dim, dtype=WIDE)
            turn[torch.tensor(pair)[:, None], torch.tensor(pair)] = blocks[stage.offset + k]
            whole = turn @ whole
    return whole


def turn_by(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((torch.stack((cos, -sin)), torch.stack((sin, cos))))


def power_of_block(block: Tensor, strength: float) -> Tensor:
    """Return the rotation by a fraction of the block's angle times its stretch to that power."""
    left, values, right = torch.linalg.svd(block)
    nearest = left @ right
    angle = torch.atan2(nearest[1, 0], nearest[0, 0])
    return turn_by(strength * angle) @ right.T @ (values**strength).diag() @ right


def dense(layer: GoftLayer, strength: float) -> Tensor:
    """Return W S^t R_t^T (out, in), float64, from the trained parameters."""
    rotation = layer.goft_rotation["default"].detach().to(WIDE)
    if rotation.dim() == 1:
        angle = layer.goft_angle["default"]
        angles = math.pi * rotation.tanh() if angle == "tanh" else rotation
        blocks = [turn_by(strength * one) for one in angles]
    else:
        blocks = [power_of_block(one, strength) for one in rotation]
    weight = layer._as_rows(layer.get_base_layer().get_parameter("weight").detach())
    if (scale := layer.goft_scale.get("default")) is not None:
        weight = weight * scale.detach().to(WIDE) ** strength
    return weight @ turned_densely(blocks, layer.in_features).T


@settings(max_examples=30)
@given(WIDTHS, SEEDS, FRACTIONS)
def test_a_fraction_of_a_rotation_keeps_lengths_and_orientation(
    dim: int, seed: int, strength: float
) -> None:
    angles = 4 * torch.randn(dim - 1, generator=torch.Generator().manual_seed(seed))
    turned = rotate(torch.eye(dim), fraction_of(angles, strength))
    # each stage multiplies by numbers rounded to float32, and adds two such products
    bound = 4 * (len(schedule(dim)) + 1) * torch.finfo(torch.float32).eps
    assert (turned.double() @ turned.double().T - torch.eye(dim)).abs().max() <= bound
    assert torch.linalg.det(turned.double()) == pytest.approx(1, abs=dim * bound)


@settings(max_examples=30)
@given(SEEDS, FRACTIONS)
def test_a_fraction_of_a_block_is_the_power_of_its_polar_parts(seed: int, strength: float) -> None:
    blocks = torch.randn(8, 2, 2, dtype=WIDE, generator=torch.Generator().manual_seed(seed))
    blocks = blocks[torch.linalg.det(blocks) > 1e-3]
    assume(len(blocks))
    expected = torch.stack([power_of_block(block, strength) for block in blocks])
    assert torch.allclose(fraction_of(blocks, strength), expected, rtol=1e-9, atol=1e-9)


GOFTS: dict[str, dict[str, Any]] = {
    "goft": {},
    "goft-scaled": {"scale": True, "angle": "direct"},
    "qgoft": {"method": "qgoft"},
    "qgoft-scaled": {"method": "qgoft", "scale": True},
}
BY_METHOD = pytest.mark.parametrize("options", GOFTS.values(), ids=list(GOFTS))


def goft_layer(kind: type[nn.Module], width: int, options: dict[str, Any]) -> GoftLayer:
    """Return a layer of 5 outputs whose rotation is far from the identity."""
    torch.manual_seed(width)
    base = nn.Linear(width, 5) if kind is nn.Linear else Conv1D(5, width)
    layer = GoftLayer(base.double(), "default", GoftConfig(init_weights=False, **options)).eval()
    if "method" not in options:
        nn.init.normal_(layer.goft_rotation["default"])
    return layer


@BY_METHOD
@FEW
@given(st.sampled_from([nn.Linear, Conv1D]), st.integers(1, 20), FRACTIONS, FRACTIONS)
def test_a_goft_layer_is_the_dense_fraction_of_its_trained_adapter(
    options: dict[str, Any], kind: type[nn.Module], width: int, first: float, strength: float
) -> None:
    layer = goft_layer(kind, width, options)
    base = layer.get_base_layer()
    weight, x = base.get_parameter("weight").detach(), torch.randn(3, width, dtype=WIDE)
    state = copy.deepcopy(layer.state_dict())
    plain, trained, expected = base(x), layer(x), dense(layer, strength)
    bound = 1e-11 * (1 + dense(layer, strength).norm())
    for one in (first, strength):
        set_strength(layer, one)
    assert strength_of(layer) == strength
    assert (layer(x) - x @ expected.T - base.get_parameter("bias")).norm() <= bound * x.norm()
    delta = layer.get_delta_weight("default")
    assert (layer._as_rows(weight + delta) - expected).norm() <= bound
    merged = copy.deepcopy(layer)
    merged.merge()
    assert (
        layer._as_rows(merged.get_base_layer().get_parameter("weight")) - expected
    ).norm() <= bound
    set_strength(layer, 0)
    assert torch.equal(layer(x), plain)
    assert not layer.get_delta_weight("default").any()
    set_strength(layer, 1)
    assert torch.equal(layer(x), trained)
    found = layer.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)

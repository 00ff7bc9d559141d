"""Check the hyperspherical energy of neurons, and the statistics logged while training."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.rotation import rotate
from goft_cli.tuner.geometry import geometry_scalars, hyperspherical_energy, rotation_geometries
from tests.support.short_training import adapted


@given(st.integers(3, 40), st.integers(2, 12))
def test_a_rotation_leaves_the_energy_alone(dim: int, neurons: int) -> None:
    torch.manual_seed(dim)
    weight = torch.randn(neurons, dim, dtype=torch.float64)
    turned = rotate(weight, torch.randn(dim - 1, dtype=torch.float64))
    assert hyperspherical_energy(turned) == pytest.approx(hyperspherical_energy(weight))


def test_energies_known_beforehand() -> None:
    assert hyperspherical_energy(torch.tensor([[3.0, 0.0], [-2.0, 0.0]])) == pytest.approx(1 / 2)
    assert hyperspherical_energy(7 * torch.eye(5)) == pytest.approx(0.5**0.5)
    assert hyperspherical_energy(torch.cat([torch.eye(4), torch.zeros(3, 4)])) == pytest.approx(
        0.5**0.5
    )


def test_what_is_logged_while_training() -> None:
    model = adapted("qgoft")
    found = rotation_geometries(model)
    scalars = geometry_scalars(model)
    angles = torch.cat([one.angles for one in found.values()]).abs()
    assert scalars["geometry/angle_mean"] == pytest.approx(math.degrees(angles.mean()))
    assert scalars["geometry/angle_max"] == pytest.approx(math.degrees(angles.max()))
    assert scalars["geometry/deviation_max"] == max(
        float(one.deviations.max()) for one in found.values()
    )
    assert geometry_scalars(adapted("lora")) == {}

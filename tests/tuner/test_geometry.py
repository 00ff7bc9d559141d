"""Check statistics of rotations against dense matrices, and those of a model by layer name."""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli.models.adapters import merge
from goft_cli.rotation import rotate_transposed
from goft_cli.tuner import GoftConfig
from goft_cli.tuner.geometry import (
    adapted_weights,
    geometry_scalars,
    neuron_change,
    neuron_changes,
    neurons,
    orthogonality_error,
    orthonormal,
    rotation_geometries,
    rotation_geometry,
)
from tests.support.short_training import adapted

EPS = torch.finfo(torch.float64).eps


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def turn(angles: Tensor) -> Tensor:
    """Return the anticlockwise rotations (p, 2, 2) by these angles (p)."""
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((cos, -sin, sin, cos), dim=-1).view(-1, 2, 2)


@pytest.mark.parametrize("dim", [1, 2, 7, 12, 48])
def test_angles_are_those_of_the_circle_and_strict_blocks_deviate_by_nothing(dim: int) -> None:
    angles = 4 * draw(dim - 1)
    found = rotation_geometry(angles)
    assert torch.allclose(turn(found.angles), turn(angles), atol=8 * EPS)
    assert found.angles.abs().le(math.pi).all()
    assert not found.deviations.any()
    stages = found.by_stage()
    assert torch.equal(torch.cat([*stages, angles[:0]]), found.angles)
    assert [len(stage) for stage in stages] == sorted((len(s) for s in stages), reverse=True)


def test_deviation_and_angle_of_a_block_are_those_of_its_polar_factor() -> None:
    blocks = torch.eye(2).double() + 0.3 * draw(40, 2, 2)
    found = rotation_geometry(blocks)
    left, _, right = torch.linalg.svd(blocks)
    assert (torch.linalg.det(blocks) > 0).all(), "else the polar factor is a reflection"
    nearest = left @ right
    assert torch.allclose(turn(found.angles), nearest, atol=16 * EPS)
    distances = torch.linalg.matrix_norm(blocks - nearest, ord=2)
    assert torch.allclose(found.deviations, distances, atol=16 * EPS)


def test_a_reflection_is_as_far_from_rotations_as_a_block_of_singular_values_one_can_be() -> None:
    (deviation,) = rotation_geometry(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).deviations
    assert deviation == 2


@pytest.mark.parametrize("dim", [1, 2, 7, 48, 200])
def test_orthogonality_error_is_that_of_the_whole_map(dim: int) -> None:
    assert orthogonality_error(draw(dim - 1)) <= 3 * math.sqrt(8) * EPS
    blocks, scale = turn(draw(dim - 1)) + 0.1 * draw(dim - 1, 2, 2, seed=1), 1 + 0.1 * draw(dim)
    whole = rotate_transposed(torch.eye(dim).double(), blocks) * scale
    probes = orthonormal(min(64, dim), dim, torch.float64)
    gram = probes @ whole @ whole.T @ probes.T
    expected = float((gram - torch.eye(len(gram))).abs().max())
    assert orthogonality_error(blocks, scale) == pytest.approx(expected, rel=1e-9)


def test_neurons_turn_by_the_angle_between_and_change_length_by_the_ratio() -> None:
    before = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    after = torch.tensor([[0.0, 2.0], [3.0, 4.0], [0.0, -1.0], [0.0, 0.0]])
    found = neuron_change(before, after)
    assert found.angles.tolist() == pytest.approx([math.pi / 2, 0, math.pi, 0])
    assert found.norm_ratios.tolist() == pytest.approx([2, 1, 0.5, 1])


def test_a_layer_of_one_input_has_no_rotation_to_measure() -> None:
    model = get_peft_model(
        nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 4)), GoftConfig(target_modules=["0", "1"])
    )
    assert rotation_geometries(model).keys() == {"1"}
    assert all(map(math.isfinite, geometry_scalars(model).values()))


def test_experts_that_peft_adapts_as_one_tensor_are_left_out() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Parameter(torch.ones(2, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.down[0]

    config = LoraConfig(target_modules=["0"], target_parameters=["1.down"])
    model = get_peft_model(nn.Sequential(nn.Linear(4, 4), Experts()), config)
    assert adapted_weights(model).keys() == {"0"}


def test_a_stored_transpose_is_read_by_output() -> None:
    layer = Conv1D(3, 5)
    assert neurons(layer).shape == (3, 5)
    assert neurons(nn.Linear(5, 3)).shape == (3, 5)


@pytest.mark.parametrize("method", ["goft", "qgoft", "lora"])
def test_a_model_is_measured_layer_by_layer_in_the_words_of_the_plain_model(method: str) -> None:
    model = adapted(method)
    geometries, before = rotation_geometries(model), adapted_weights(model)
    copies = {name: weight.clone() for name, weight in before.items()}
    changes = neuron_changes(before, merge(model))
    assert "bert.encoder.layer.0.attention.self.query" in changes
    assert list(geometries) == ([] if method == "lora" else list(changes))
    for name, change in changes.items():
        assert torch.equal(before[name], copies[name]), "merging leaves the old weight alone"
        assert change.angles.max() > 0
    lengths = torch.cat([change.norm_ratios for change in changes.values()])
    # inputs of width 32 at most: five stages
    strict = bool((lengths - 1).abs().max() <= 3 * math.sqrt(5) * torch.finfo(torch.float32).eps)
    assert strict == (method == "goft")

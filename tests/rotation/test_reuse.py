"""An engine's prepared tensors are reused exactly as long as the rotation has the same values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from goft_cli.rotation import ENGINES, Prepared, force_engine, rotate_transposed
from goft_cli.tuner import GoftConfig, GoftLayer

DIM = 96


class Counting:
    """An engine that counts how often it prepares."""

    def __init__(self, name: str) -> None:
        self.engine, self.times = ENGINES[name], 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)

    def prepare(self, rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        self.times += 1
        return self.engine.prepare(rotation, dtype)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    counting = Counting("blocked")
    monkeypatch.setitem(ENGINES, "blocked", counting)
    with force_engine("blocked"):
        yield counting


@pytest.fixture
def rotation() -> nn.Parameter:
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(DIM - 1))


def turned(rotation: Tensor, kept: Prepared | None, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(1)
    return rotate_transposed(torch.randn(3, DIM).to(dtype), rotation, kept)


@torch.no_grad()
def test_the_same_values_are_prepared_once(blocked: Counting, rotation: nn.Parameter) -> None:
    kept = Prepared()
    outputs = [turned(rotation, kept) for _ in range(3)]
    assert blocked.times == 1
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert torch.allclose(outputs[0], turned(rotation, None), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("way", ["in place", "through data", "a new tensor", "one value"])
def test_any_change_of_a_value_is_seen(blocked: Counting, rotation: nn.Parameter, way: str) -> None:
    kept = Prepared()
    before = turned(rotation, kept)
    if way == "in place":
        rotation.add_(1)
    elif way == "through data":
        rotation.data.copy_(rotation.data + 1)  # does not change the version counter
    elif way == "a new tensor":
        rotation.data = rotation.data + 1
    else:
        rotation[-1] += 1
    after = turned(rotation, kept)
    assert blocked.times == 2
    assert not torch.equal(before, after)
    assert torch.equal(after, turned(rotation, Prepared()))


@torch.no_grad()
def test_another_dtype_is_prepared_anew(blocked: Counting, rotation: nn.Parameter) -> None:
    kept = Prepared()
    for dtype in (torch.float32, torch.bfloat16, torch.bfloat16):
        assert turned(rotation, kept, dtype).dtype == dtype
    assert blocked.times == 2


def test_with_gradients_it_is_prepared_once_a_step(
    blocked: Counting, rotation: nn.Parameter
) -> None:
    kept, found = Prepared(), []
    for _ in range(2):
        x = torch.randn(3, DIM)
        loss = rotate_transposed(x, rotation, kept).square()[:, 0].sum()
        found.append((loss + rotate_transposed(x, rotation, kept)[:, 1].sum(), x))
    assert blocked.times == 1
    for loss, x in found:
        wanted = torch.autograd.grad(loss, rotation)[0]
        again = rotate_transposed(x, rotation)
        expected = torch.autograd.grad(again.square()[:, 0].sum() + again[:, 1].sum(), rotation)[0]
        torch.testing.assert_close(wanted, expected)
    with torch.no_grad():
        rotation.add_(1)
    turned(rotation, kept)
    assert blocked.times == 4  # two of them in the calls without `kept`


def test_what_inference_mode_kept_serves_training_later(rotation: nn.Parameter) -> None:
    kept = Prepared()
    with torch.inference_mode():
        expected = turned(rotation, kept)
    with torch.no_grad():
        assert torch.equal(turned(rotation, kept), expected)
    x = torch.randn(200, DIM, requires_grad=True)
    rotate_transposed(x, rotation, kept).sum().backward()
    assert rotation.grad is not None


@torch.no_grad()
def test_copies_and_files_start_empty(blocked: Counting, rotation: nn.Parameter) -> None:
    kept = Prepared()
    turned(rotation, kept)
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        turned(rotation, other)
    assert blocked.times == 3


def test_shapes_without_data_are_not_compared() -> None:
    rotation, x = torch.empty(DIM - 1, device="meta"), torch.empty(3, DIM, device="meta")
    kept = Prepared()
    with torch.no_grad():
        for _ in range(2):
            assert rotate_transposed(x, rotation, kept).shape == x.shape


def test_a_layer_in_evaluation_follows_its_optimizer(blocked: Counting) -> None:
    torch.manual_seed(0)
    layer = GoftLayer(nn.Linear(DIM, 8), "default", GoftConfig(init_weights=False))
    optimizer = torch.optim.AdamW([layer.goft_rotation["default"]], lr=0.1)
    x = torch.randn(5, DIM)
    for _ in range(2):
        layer.train()
        layer(x).square().sum().backward()
        optimizer.step()
        layer.eval()
        with torch.no_grad():
            once, twice = layer(x), layer(x)
        assert torch.equal(once, twice)
        weight = layer.get_base_layer().get_parameter("weight") + layer.get_delta_weight("default")
        expected = x @ weight.T + layer.get_base_layer().get_parameter("bias")
        torch.testing.assert_close(once, expected, rtol=1e-5, atol=1e-5)

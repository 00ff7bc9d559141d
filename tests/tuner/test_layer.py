"""One layer takes any width, computes qGOFT's penalty, and can be copied and pickled."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

if TYPE_CHECKING:
    from conftest import Wrap


@settings(max_examples=30, deadline=None)
@given(dim=st.integers(1, 40), count=st.integers(0, 3), options=st.sampled_from([{}, {"scale": 1}]))
def test_any_width_and_any_number_of_tokens(
    wrap: Wrap, dim: int, count: int, options: dict[str, bool]
) -> None:
    for method in ("goft", "qgoft"):
        layer = wrap(nn.Linear(dim, 3).double(), method=method, **options)
        x = torch.randn(2, count, dim, dtype=torch.float64, requires_grad=True)
        output = layer(x)
        output.sum().backward()
        assert output.shape == (2, count, 3)
        assert x.grad is not None
        assert layer.goft_rotation["default"].grad is not None or dim == 1


def test_penalty_has_the_value_and_gradient_of_its_formula(wrap: Wrap) -> None:
    layer = wrap(nn.Linear(9, 4), method="qgoft", penalty_weight=0.3).train()
    layer(torch.randn(2, 9))
    blocks = layer.goft_rotation["default"].detach().double()
    a1, b1, a2, b2 = (blocks[:, i, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    product = a1 * b1 + a2 * b2
    assert layer.penalty is not None
    torch.testing.assert_close(layer.penalty.item(), 0.3 * (product**2).sum().item())
    layer.penalty.backward()
    gradient = torch.stack((b1, a1, b2, a2), -1).view(-1, 2, 2) * (0.6 * product).view(-1, 1, 1)
    torch.testing.assert_close(layer.goft_rotation["default"].grad, gradient.float())


def test_penalties_of_stacked_adapters_add_up_and_calls_do_not(wrap: Wrap) -> None:
    layer = wrap(nn.Linear(9, 4), ("a", "b"), method="qgoft", penalty_weight=1.0).train()
    layer(torch.randn(2, 9))
    layer(torch.randn(2, 9))
    both = layer.penalty
    parts = []
    for name in ("a", "b"):
        layer.set_adapter(name)
        layer(torch.randn(2, 9))
        parts.append(layer.penalty)
    torch.testing.assert_close(both, sum(parts))


@pytest.mark.parametrize("case", ["goft", "weightless", "eval", "disabled", "merged"])
def test_nothing_to_penalise(wrap: Wrap, case: str) -> None:
    options = {"goft": {"method": "goft"}, "weightless": {"penalty_weight": 0}}
    layer = wrap(nn.Linear(9, 4), **{"method": "qgoft", **options.get(case, {})}).train()
    layer(torch.randn(2, 9))
    if case == "eval":
        layer.eval()
    if case == "disabled":
        layer.enable_adapters(False)
    if case == "merged":
        layer.merge()
    layer(torch.randn(2, 9))
    assert layer.penalty is None


@pytest.mark.parametrize("merged", [False, True])
def test_copies_after_a_training_step(wrap: Wrap, variant: dict[str, Any], merged: bool) -> None:
    layer, x = wrap(nn.Linear(9, 4), **variant).train(), torch.randn(2, 9)
    before = layer.weight.detach().clone()
    if merged:
        layer.merge()
    output = layer(x)
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    for twin in [*copies, torch.load(stream, weights_only=False)]:
        assert twin.penalty is None
        assert torch.equal(twin(x), output)
        assert twin.state_dict().keys() == layer.state_dict().keys()
        if merged:
            twin.unmerge()
            assert torch.equal(twin.get_base_layer().weight, before)


def test_state_holds_the_adapter_and_the_base_layer_only(wrap: Wrap) -> None:
    layer = wrap(nn.Linear(9, 4), method="qgoft", scale=True).train()
    layer(torch.randn(2, 9))
    layer.merge()
    adapter = {"goft_rotation.default", "goft_scale.default"}
    assert layer.state_dict().keys() == adapter | {"base_layer.weight", "base_layer.bias"}

"""GOFT adapts a layer of any class that computes x W^T + b, and refuses others by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor
from transformers.models.falcon.modeling_falcon import FalconLinear
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from conftest import Wrap


def with_weight(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(3, 3, bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def layer_with(forward: Callable[..., object], base: type[nn.Module] = nn.Linear) -> nn.Module:
    """Return a layer from 6 to 4 features, of a new class with this forward."""
    kind = type("Foreign", (base,), {"forward": forward})
    return kind(4, 6) if base is Conv1D else kind(6, 4)


def product(layer: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - of a class of its own
    """Return x W^T + b, as nn.Linear does."""
    return nn.functional.linear(x, layer.weight, layer.bias)


def with_a_gate() -> nn.Module:
    """Return a layer that is linear only while its parameter `gate` is zero."""
    layer = layer_with(lambda self, x: product(self, x) + self.gate * x.sum())
    layer.gate = nn.Parameter(torch.zeros(()))
    return layer


NOT_LINEAR = {
    "clamped": layer_with(lambda self, x: product(self, x).clamp(-100, 100)),
    "dropout": layer_with(
        lambda self, x: nn.functional.dropout(product(self, x), 0.5, self.training)
    ),
    "router": layer_with(lambda self, x: (product(self, x), x)),
    "expert": layer_with(lambda self, x, expert: product(self, x) * expert),
    "packing": layer_with(lambda self, x: x @ self.weight.to(torch.float8_e4m3fn).to(x).T),
    "no bias": layer_with(lambda self, x: x @ self.weight.T),
    "gate": with_a_gate(),
}


@pytest.mark.parametrize(
    "base",
    [
        FalconLinear(6, 4),
        FalconLinear(6, 4, bias=False),
        layer_with(lambda self, x: torch.addmm(self.bias, x, self.weight.T)),
        layer_with(product).double(),
        layer_with(Conv1D.forward, Conv1D),
    ],
)
def test_any_class_that_computes_a_linear_map_is_taken(wrap: Wrap, base: nn.Module) -> None:
    layer, x = wrap(base), torch.randn(2, 6).to(base.get_parameter("weight").dtype)
    before = layer(x)
    assert type(layer.get_base_layer()) is type(base)
    layer.merge(safe_merge=True)
    torch.testing.assert_close(layer(x), before)


def test_a_layer_without_values_is_judged_by_its_class(wrap: Wrap) -> None:
    with torch.device("meta"):
        assert wrap(FalconLinear(6, 4)).in_features == 6
        with pytest.raises(ValueError, match="forward"):
            wrap(layer_with(lambda self, x: product(self, x).relu()))


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        (
            nn.Conv2d(3, 3, 1),
            r"found Conv2d.*torch.nn.Linear.*bitsandbytes.*exclude_modules",
        ),
        (nn.MultiheadAttention(4, 2).out_proj, "NonDynamicallyQuant.*MultiheadAttention"),
        (with_weight(torch.zeros(3, 3, dtype=torch.int8)), "torch.int8.*quantization"),
        (with_weight(torch.zeros(3, 3).to(torch.float8_e5m2)), "float8_e5m2.*quantization"),
        (with_weight(TwoTensor(torch.zeros(3, 3), torch.zeros(3, 3))), "TwoTensor.*quantization"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), "computes its weight"),
        *[(layer.eval(), "Foreign.*forward") for layer in NOT_LINEAR.values()],
    ],
)
def test_unsupported_layers_are_refused_by_name(wrap: Wrap, base: nn.Module, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wrap(base)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_a_layer_without_inputs_is_refused(wrap: Wrap) -> None:
    with pytest.raises(ValueError, match="in_features=0"):
        wrap(nn.Linear(0, 3))

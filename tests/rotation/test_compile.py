"""A layer under torch.compile is one graph and gives the same results and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from goft_cli.rotation import ENGINES, force_engine
from goft_cli.tuner import GoftConfig, GoftLayer
from goft_cli.tuner.config import Method


def loss_of(layer: GoftLayer, call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    loss = call(x).square().mean()
    return loss if layer.penalty is None else loss + layer.penalty


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize(
    ("engine", "dim", "count"), [("auto", 96, 200), ("auto", 45, 200), ("fused", 45, 3)]
)
def test_layer_compiles_whole(method: Method, engine: str, dim: int, count: int) -> None:
    if engine != "auto" and not ENGINES[engine].supports(dim, torch.float32, torch.device("cpu")):
        pytest.skip("the fused kernels need Triton")
    torch.compiler.reset()  # it limits the recompilations of one function
    torch.manual_seed(0)
    config = GoftConfig(method=method, scale=True, init_weights=False)
    layer = GoftLayer(nn.Linear(dim, 40), "default", config)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(count, dim, requires_grad=True)
    leaves = [x, layer.goft_rotation["default"], layer.goft_scale["default"]]
    with force_engine(engine):
        expected = torch.autograd.grad(loss_of(layer, layer, x), leaves)
        found = torch.autograd.grad(loss_of(layer, compiled, x), leaves)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
        layer.eval()
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), layer(x))

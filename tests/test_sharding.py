"""Sharded weights lead to the adapter of one process: FSDP2, ZeRO-2, ZeRO-3.

Two processes on CPUs; `tests/sharding.py` says what only a GPU can prove.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import sharding
from tests.processes import torchrun

# Plain SGD: each of the updates adds one rounding of gradients that are sums in another order.
TOLERANCE = 64 * sharding.STEPS * torch.finfo(torch.float32).eps
without_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="needs the extra `deepspeed`"
)
ENGINES = [
    "fsdp2",
    pytest.param("zero2", marks=without_deepspeed),
    pytest.param("zero3", marks=without_deepspeed),
]


@pytest.mark.sharded
@pytest.mark.parametrize("method", ["qgoft", "lora"])
@pytest.mark.parametrize("engine", ENGINES)
def test_sharded_weights_are_those_of_one_process(engine: str, method: str, tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"
    torchrun("sharding", engine, method, str(output))
    start, found = sharding.tensors(sharding.adapted(method)), load_file(output)
    alone = sharding.trained_alone(method)
    assert found.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(found[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)
    assert any((alone[name] - start[name]).abs().max() > 100 * TOLERANCE for name in alone)

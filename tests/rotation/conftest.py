"""Fixtures: an independent construction of the matrix R, and bounds on rounding errors."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from goft_cli.rotation import fused

# Skip the kernels' self-check on a CPU: the tests check the kernels more thoroughly.
for _dtype in (torch.float32, torch.bfloat16, torch.float16):
    fused._healthy[_dtype, torch.device("cpu")] = True


def blocks_of(rotation: Tensor) -> Tensor:
    """Return the (d-1, 2, 2) float64 blocks of angles (d-1,) or of blocks."""
    wide = rotation.double()
    if wide.dim() == 3:
        return wide
    cos, sin = wide.cos(), wide.sin()
    return torch.stack((cos, -sin, sin, cos), dim=-1).view(-1, 2, 2)


def dense_product(blocks: Tensor) -> Tensor:
    """Return R = P_L ... P_1 as a dense float64 matrix, stage by stage from the definition."""
    dim = len(blocks) + 1
    product = torch.eye(dim, dtype=torch.float64)
    live, used = list(range(dim)), 0
    while len(live) > 1:
        pairs = torch.tensor(list(zip(live[0::2], live[1::2], strict=False)))
        turned = blocks[used : used + len(pairs)] @ product[pairs]
        product = product.index_put((pairs,), turned)
        used += len(pairs)
        live = live[0::2]
    assert used == len(blocks)
    return product


@pytest.fixture(scope="session")
def dense() -> Callable[[Tensor], Tensor]:
    """Return a function from angles or blocks to the dense float64 (d, d) matrix R."""
    return lambda rotation: dense_product(blocks_of(rotation))


@pytest.fixture(scope="session")
def magnitude() -> Callable[[Tensor], Tensor]:
    """Return a function from angles or blocks to the product of the blocks' absolute values.

    Rounding of a product of matrices is relative to the product of their absolute values; for
    strict rotations the norm of x is the tighter measure.
    """
    return lambda rotation: dense_product(blocks_of(rotation).abs())


@pytest.fixture(scope="session")
def tolerance() -> Callable[[torch.dtype, int], float]:
    """Return a function from (dtype, d) to the relative rounding: a random walk over the stages."""

    def bound(dtype: torch.dtype, dim: int) -> float:
        stages = max(1, math.ceil(math.log2(dim)))
        return 3 * math.sqrt(stages) * torch.finfo(dtype).eps

    return bound


@pytest.fixture(scope="session")
def draw() -> Callable[..., Tensor]:
    """Return a function from (kind, d, seed) to random float64 angles, or blocks near identity."""

    def rotation(kind: str, dim: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if kind == "strict":
            return (
                (torch.rand(dim - 1, generator=generator, dtype=torch.float64) - 0.5) * 2 * math.pi
            )
        noise = torch.randn(dim - 1, 2, 2, generator=generator, dtype=torch.float64)
        return torch.eye(2, dtype=torch.float64) + 0.3 * noise

    return rotation


@pytest.fixture
def cuda() -> torch.device:
    """Return a CUDA device; its kernels are compiled, not interpreted."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.fail(
            "Triton interprets its kernels here: start with TRITON_INTERPRET=0, or make gpu"
        )
    return torch.device("cuda", torch.cuda.current_device())

"""The fused kernels as compiled: what they cost on chip, without a GPU, and their values on one.

Run as a program, this file compiles the cases and prints one line of JSON for each. Triton must not
be in interpreter mode for that, which another test may have set it to in this process.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from goft_cli.rotation import fused, staged

ROOT = Path(__file__).resolve().parents[2]
Draw = Callable[..., Tensor]
Tolerance = Callable[[torch.dtype, int], float]

POINTERS = ("x", "grad", "coef", "out", "grad_x", "partial", "heads", "grad_heads")
SHARED = 99 * 1024
"""Bytes that one program may take on the smallest of these devices (compute capability 8.6)."""


class Case(NamedTuple):
    """One compilation: a kernel for a kind of rotation, a width, a dtype and a device."""

    kernel: str
    quasi: bool
    width: int
    dtype: str
    capability: int
    transposed: bool = True
    blocks: int = 1


CASES = [
    Case("turn", False, 1024, "bf16", 80),
    Case("turn", False, 4096, "fp32", 90),
    Case("turn", False, 16384, "bf16", 90),
    Case("turn", True, 4096, "bf16", 80, transposed=False),
    Case("pullback", False, 64, "bf16", 90),
    Case("pullback", False, 1024, "fp32", 80),
    Case("pullback", False, 4096, "bf16", 90),
    Case("pullback", False, 4096, "bf16", 80, blocks=4),
    Case("pullback", True, 64, "bf16", 90),
    Case("pullback", True, 1024, "bf16", 80, blocks=16),
    Case("pullback", True, 1024, "fp32", 90),
]


def constants(case: Case) -> dict[str, Any]:
    """Arguments of the kernel that are known when it is compiled, as a launch would set them."""
    dtype = torch.float32 if case.dtype == "fp32" else torch.bfloat16
    rows, _ = fused.tile(case.width, "turn" if case.kernel == "turn" else "pullback")
    x, coef = torch.empty(0, dtype=dtype), torch.empty(4 if case.quasi else 2, case.width)
    own = {"TRANSPOSED": case.transposed}
    if case.kernel == "pullback":
        own = {"NEEDS_X": True, "BLOCKS": case.blocks}
    return {**fused._shape(x, coef, rows, case.width), **own}


def compile_ahead(case: Case) -> dict[str, int]:
    """Registers, bytes spilled, bytes of shared memory and barriers of one compiled case."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from goft_cli.rotation import kernels

    kernel, known = getattr(kernels, case.kernel), constants(case)
    _, warps = fused.tile(case.width, "turn" if case.kernel == "turn" else "pullback")
    signature, attributes = {}, {}
    for place, name in enumerate(kernel.arg_names):
        wide = name in ("coef", "partial") or (case.blocks > 1 and "heads" in name)
        pointer = "*fp32" if wide else f"*{case.dtype}"
        signature[name] = pointer if name in POINTERS else "i32"
        if name in known:
            signature[name] = "constexpr"
        elif name != "rows":  # as for d = 768: addresses and widths are multiples of 16
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=known, attrs=attributes)
    target = GPUTarget("cuda", case.capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": warps})
    ptx, said = compiled.asm["ptx"], assemble(compiled.asm["ptx"])
    return {
        "registers": int(re.findall(r"Used (\d+) registers", said)[0]),
        "spilled": sum(int(number) for number in re.findall(r"(\d+) bytes spill", said)),
        "shared": compiled.metadata.shared,
        "barriers": len(re.findall(r"bar(?:rier)?\.sync", ptx)),
        "warps": warps,
        "wide_loads": len(re.findall(r"ld\.global\S*evict_first\S*\.v4", ptx)),
        "wide_stores": len(re.findall(r"st\.global\S*\.v4", ptx)),
    }


def ptxas() -> Path:
    """NVIDIA's assembler, which most Triton packages bring along."""
    spec = find_spec("triton")
    origin = Path((spec and spec.origin) or "")
    return origin.parent / "backends" / "nvidia" / "bin" / "ptxas"


def assemble(ptx: str) -> str:
    """What the assembler says of registers and spills."""
    architecture = re.findall(r"^\.target (\w+)", ptx, flags=re.MULTILINE)[0]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas(), "-v", f"--gpu-name={architecture}", source, "-o", f"{source}.cubin"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


@pytest.mark.slow
@pytest.mark.skipif(not ptxas().is_file(), reason="Triton with its own ptxas is not installed")
def test_everything_stays_in_registers(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, __file__],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(CASES)
    for case, cost in zip(CASES, found, strict=True):
        assert cost["spilled"] == 0, (case, cost)
        assert cost["shared"] <= SHARED, (case, cost)
        assert cost["wide_loads"] > 0, (
            case,
            cost,
        )  # of x; coefficients are kept, not evicted first
        assert cost["wide_stores"] > 0, (case, cost)
        if case.kernel == "turn":  # warps wait only where a stage's partners are in other warps
            assert cost["barriers"] <= 3 * math.log2(cost["warps"]), (case, cost)


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    assert fused.available(device)
    yield device
    torch.cuda.synchronize()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["strict", "quasi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [2, 33, 768, 1000, 3072, 4096, 11008, 16384])
def test_agrees_with_float64_on_a_gpu(
    kind: str, dim: int, dtype: torch.dtype, cuda: torch.device, draw: Draw, tolerance: Tolerance
) -> None:
    rotation = draw(kind, dim).float()
    generator = torch.Generator().manual_seed(1)
    x, grad = (torch.randn(513, dim, generator=generator).to(dtype) for _ in range(2))
    found = turned_and_pulled(fused, x.to(cuda), grad.to(cuda), rotation.to(cuda))
    expected = turned_and_pulled(staged, x.double(), grad.double(), rotation.double())
    again = turned_and_pulled(fused, x.to(cuda), grad.to(cuda), rotation.to(cuda))
    # float32 adds up the gradient of the rotation whatever x is stored in.
    for name, wanted in expected.items():
        assert torch.equal(found[name], again[name]), name
        kept = torch.float32 if name == "rotation" else dtype
        error = (found[name].double().cpu() - wanted).norm()
        assert error <= tolerance(kept, dim) * wanted.norm(), name


def turned_and_pulled(
    engine: ModuleType, x: Tensor, grad: Tensor, rotation: Tensor
) -> dict[str, Tensor]:
    """Everything an engine computes."""
    prepared = engine.prepare(rotation, x.dtype)
    grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, True)
    directions = {"R^T x": engine.synthesis(x, prepared), "R x": engine.analysis(x, prepared)}
    return {**directions, "x": grad_x, "rotation": grad_rotation}


if __name__ == "__main__":
    for each in CASES:
        print(json.dumps(compile_ahead(each)))

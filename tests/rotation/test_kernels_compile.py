"""Kernels compiled for a GPU spill no registers and let enough warps run at a time.

Triton compiles them on a machine without a GPU. Run as a program, this file compiles the cases and
prints one line of JSON for each. It needs its own process, in which Triton does not interpret.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from goft_cli.rotation import fused
from goft_cli.rotation.fused import Tiling

ROOT = Path(__file__).resolve().parents[2]

# Of a processor of the smallest device, compute capability 8.6; shared memory in bytes.
REGISTERS, SHARED = 65536, 99 * 1024
WARPS = 10
"""Warps that each processor must be able to run at the same time."""


class Case(NamedTuple):
    """One compilation: a kernel for a dtype, a width and a device."""

    kernel: str
    dtype: str
    dim: int
    capability: int
    quasi: bool = False
    heads: bool = False


CASES = [
    Case("synthesis", "bf16", 4096, 90),
    Case("analysis", "fp32", 768, 86),
    Case("pullback", "bf16", 4096, 90),
    Case("pullback", "fp32", 16384, 80, quasi=True),
    Case("pullback", "bf16", 16384, 86, quasi=True, heads=True),
]


def constants(case: Case) -> dict[str, int]:
    """Return the constants that a launch of the kernel sets."""
    stride = fused.BLOCK if case.heads else 1
    dtype = torch.float32 if case.heads or case.dtype == "fp32" else torch.bfloat16
    x = torch.empty(0, -(-case.dim // stride), dtype=dtype)
    found = Tiling.of(x, torch.empty(4, fused.padded(case.dim)), stride).constants()
    if case.kernel != "synthesis":
        found["STRIDE"] = stride
    if case.kernel == "pullback":
        found |= {"QUASI": case.quasi, "NEEDS_X": True}
    return found


def compile_ahead(case: Case) -> dict[str, int]:
    """Compile a case; return its use of a processor and its numbers of wide memory accesses."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from goft_cli.rotation import kernels

    kernel, known = getattr(kernels, case.kernel), constants(case)
    warps = known.pop("num_warps")
    wide = {"coef", "heads", "shares", *(["grad"] if case.heads else [])}
    signature: dict[str, str] = {}
    aligned: dict[tuple[int], list[list[Any]]] = {}
    for place, name in enumerate(kernel.arg_names):
        pointer = "*fp32" if name in wide else f"*{case.dtype}"
        signature[name] = "i32" if name in ("rows", "d", "columns") else pointer
        if name in known:
            signature[name] = "constexpr"
        elif name != "rows":
            aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=known, attrs=aligned)
    target = GPUTarget("cuda", case.capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": warps})
    said = usage(compiled.asm["cubin"])
    return {
        "warps": warps,
        "registers": int(re.findall(r"REG:(\d+)", said)[0]),
        "spilled": int(re.findall(r"LOCAL:(\d+)", said)[0]),
        "shared": compiled.metadata.shared,
        "wide_loads": len(re.findall(r"cp\.async\S* [^;]*0x10, ", compiled.asm["ptx"])),
        "wide_stores": len(re.findall(r"st\.global\S*\.v4\.b32 ", compiled.asm["ptx"])),
    }


def usage(binary: bytes) -> str:
    """Return the resource usage of a compiled kernel, as printed by `cuobjdump`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        command = [str(cuobjdump()), "-res-usage", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cuobjdump() -> Path:
    """Return the path of `cuobjdump` in Triton's package."""
    spec = find_spec("triton")
    return Path((spec and spec.origin) or "").parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@pytest.mark.slow
@pytest.mark.skipif(not cuobjdump().is_file(), reason="Triton for NVIDIA is not installed")
def test_everything_stays_in_registers(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, __file__],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for case, cost in zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True):
        assert cost["spilled"] == 0, (case, cost)
        programs = SHARED // (cost["shared"] + 1024)
        warps = min(programs * cost["warps"], REGISTERS // (32 * cost["registers"]))
        assert warps >= WARPS, (case, cost)
        if not case.heads:  # heads are far apart in memory
            assert min(cost["wide_loads"], cost["wide_stores"]) > 0, (case, cost)


if __name__ == "__main__":
    for each in CASES:
        print(json.dumps(compile_ahead(each)))

"""Time the fused kernels and a plain copy of the vectors, and compare their bandwidths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from goft_cli.rotation import fused
from scripts.benchmarks.tables import Record, microseconds
from scripts.benchmarks.timing import Case, Samples, sync_of

COPY = "copy"
TENSORS = {COPY: 2, "forward": 2, "backward": 3}
"""Numbers of tensors of x's size that one call reads or writes."""
KINDS: dict[str, Callable[[int], tuple[int, ...]]] = {
    "GOFT": lambda pairs: (pairs,),
    "qGOFT": lambda pairs: (pairs, 2, 2),
}
"""Functions from the number of pairs to the shape of a rotation."""


def kernel_makers(
    rows: int, width: int, dtype: torch.dtype, device: torch.device, calls: int
) -> dict[str, Callable[[], Case]]:
    """Return functions by name that make cases of `calls` copies, or passes of each rotation."""
    x, grad = (torch.randn(rows, width, dtype=dtype, device=device) for _ in range(2))
    target = torch.empty_like(x)
    makers = {COPY: lambda: repeated(lambda: target.copy_(x), device, calls)}
    for kind, shape in KINDS.items():
        rotation = torch.rand(shape(width - 1), device=device)
        for name in ("forward", "backward"):
            made = partial(pass_case, name, x, grad, rotation)
            makers[f"{name} {kind}"] = lambda made=made: repeated(made(), device, calls)
    return makers


def pass_case(name: str, x: Tensor, grad: Tensor, rotation: Tensor) -> Case:
    """Return a call of one pass on vectors x (n, d) and the gradient of the result (n, d)."""
    prepared = fused.prepare(rotation, x.dtype)
    if name == "forward":
        return partial(fused.synthesis, x, prepared)
    return partial(fused.pullback, x, grad, rotation, prepared, True)


def repeated(call: Case, device: torch.device, calls: int) -> Case:
    """Return a function of `calls` calls; on a GPU a CUDA graph, without Python between them."""
    call()  # compiles the kernel
    if device.type == "cpu":
        return lambda: [call() for _ in range(calls)]
    sync_of(device)()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    return graph.replay


def rates(samples: Mapping[str, Samples], size: int, calls: int) -> dict[str, Record]:
    """Return time, bandwidth and share of the copy's bandwidth by case, for x of `size` bytes."""
    moved = {name: TENSORS[name.split()[0]] * size * calls for name in samples}
    rate = {name: moved[name] / found.median / 1e9 for name, found in samples.items()}
    return {
        name: microseconds(found, calls)
        | {"GB/s": round(rate[name], 1)}
        | ({"of copy": round(rate[name] / rate[COPY], 3)} if COPY in rate else {})
        for name, found in samples.items()
    }

"""The fused kernels against a plain copy, and whole layers against PEFT's LoRA, on a CUDA device.

python scripts/bench_kernel.py --sizes 4096x768 16384x4096 --rounds 50

Kernels are timed as graphs of several calls, layers call by call. Prints tables, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goft_cli import GoftConfig
from goft_cli.rotation import fused
from goft_cli.tuner.penalty import total_penalty
from scripts.benchmarks.timing import Case, Samples, interleave, sync_of

DEVICE = torch.device("cuda")
SIZES = ("4096x768", "4096x3072", "4096x4096", "16384x4096", "1024x16384")
CALLS = 10
"""Calls in one timing of a kernel."""
TENSORS = {"copy": 2, "forward": 2, "backward": 3}
"""Of x's size, that one call reads or writes."""
FROZEN = "frozen"
ADAPTERS: dict[str, Callable[..., PeftConfig]] = {
    **{f"lora r={r}": partial(LoraConfig, r=r) for r in (8, 16)},
    **{method: partial(GoftConfig, method=method) for method in ("goft", "qgoft")},
}
Record = dict[str, str | float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 where there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="TOKENSxWIDTH")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/kernel.json"))
    words = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("bench_kernel: found no CUDA device, expected one; run it on a machine with a GPU")
        return 2
    measure = partial(interleave, rounds=words.rounds, sync=sync_of(DEVICE))
    found: dict[str, list[Record]] = {"kernels": [], "layers": []}
    for size in words.sizes:
        for dtype in (torch.bfloat16, torch.float32):
            x = torch.randn(*map(int, size.split("x")), dtype=dtype, device=DEVICE)
            case = {"size": size, "dtype": str(dtype).removeprefix("torch.")}
            found["kernels"] += [case | row for row in rates(measure(kernels(x)), x.nbytes)]
            found["layers"] += [case | row for row in overheads(measure(layers(x)))]
    words.output.parent.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name(DEVICE)
    words.output.write_text(json.dumps({"device": device, **found}, indent=2), encoding="utf-8")
    for title, records in found.items():
        table = Table(*records[0], title=f"{title}, {device}")
        for record in records:
            table.add_row(*map(str, record.values()))
        Console().print(table)
    return 0


def kernels(x: Tensor) -> dict[str, Case]:
    """A copy of x, and both passes of both kinds of rotation."""
    pairs, target, grad = x.shape[1] - 1, torch.empty_like(x), torch.randn_like(x)
    cases = {"copy": repeated(lambda: target.copy_(x))}
    for kind, shape in (("strict", (pairs,)), ("quasi", (pairs, 2, 2))):
        rotation = torch.rand(shape, device=x.device)
        prepared = fused.prepare(rotation, x.dtype)
        backward = partial(fused.pullback, x, grad, rotation, prepared, True)
        cases[f"forward {kind}"] = repeated(partial(fused.synthesis, x, prepared))
        cases[f"backward {kind}"] = repeated(backward)
    return cases


def repeated(call: Case) -> Case:
    """Record CALLS calls, to be launched as one."""
    call()  # compiles
    sync_of(DEVICE)()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS):
            call()
    return graph.replay


def layers(x: Tensor) -> dict[str, Case]:
    """Forward and backward of one frozen weight, alone and with each adapter."""
    dim = x.shape[1]
    base = nn.Linear(dim, dim, bias=False, device=x.device, dtype=x.dtype).requires_grad_(False)
    cases = {FROZEN: step_of(base, x)}
    for name, config in ADAPTERS.items():
        layer = nn.Linear(dim, dim, bias=False, device="meta")
        layer.weight = base.weight
        cases[name] = step_of(get_peft_model(nn.Sequential(layer), config(target_modules="0")), x)
    return cases


def step_of(layer: nn.Module, x: Tensor) -> Case:
    """Call forward and backward as in training, the penalty and the gradient of x included."""
    leaf, grad = x.detach().requires_grad_(), torch.randn_like(x)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.dtype == torch.bfloat16):
            output = layer(leaf)
        penalty = total_penalty(layer)
        if penalty is None:
            output.backward(grad)
        else:
            torch.autograd.backward([output, penalty], [grad, torch.ones_like(penalty)])
        leaf.grad = None
        layer.zero_grad()

    return step


def rates(samples: Mapping[str, Samples], size: int) -> list[Record]:
    """Bandwidth of each case, for x of that many bytes, and its share of the copy's."""
    moved = {name: TENSORS[name.split()[0]] * size * CALLS for name in samples}
    rate = {name: moved[name] / found.median / 1e9 for name, found in samples.items()}
    return [
        times(name, found, calls=CALLS)
        | {"GB/s": round(rate[name], 1), "of copy": round(rate[name] / rate["copy"], 3)}
        for name, found in samples.items()
    ]


def overheads(samples: Mapping[str, Samples]) -> list[Record]:
    """Time of each layer, what it is over the frozen one's, and that as a multiple of LoRA's."""
    over = {name: found.median - samples[FROZEN].median for name, found in samples.items()}
    return [
        times(name, found)
        | {"over frozen us": round(1e6 * over[name], 1)}
        | {f"of {lora}": round(over[name] / over[lora], 2) for lora in over if "lora" in lora}
        for name, found in samples.items()
    ]


def times(name: str, found: Samples, calls: int = 1) -> Record:
    """Median and quartiles of one call in microseconds."""
    low, us, high = (1e6 * t / calls for t in (found.low, found.median, found.high))
    return {"case": name, "us": round(us, 1), "low": round(low, 1), "high": round(high, 1)}


if __name__ == "__main__":
    sys.exit(main())

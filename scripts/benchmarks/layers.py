"""Measure time and memory of a step of one linear layer, frozen and with each adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, OFTConfig, PeftConfig, get_peft_model
from torch import Tensor, nn
from torch._dynamo.utils import counters

from goft_cli import GoftConfig
from goft_cli.tuner.penalty import total_penalty
from scripts.benchmarks import grid
from scripts.benchmarks.tables import Record, microseconds
from scripts.benchmarks.timing import Case, Samples, sync_of

FROZEN, REFERENCE = "frozen", "LoRA r=8"
ROTATIONS = ("GOFT", "qGOFT")
ADAPTERS: dict[str, Callable[..., PeftConfig]] = {
    REFERENCE: partial(LoraConfig, r=8),
    "OFT": partial(OFTConfig, oft_block_size=32),
    "GOFT": partial(GoftConfig, method="goft"),
    "qGOFT": partial(GoftConfig, method="qgoft"),
}
OVER, RATIO = "overhead, us", f"overhead / {REFERENCE}"
PEAK, PEAK_OVER = "peak, MB", "peak overhead, MB"
PEAK_RATIO = f"peak overhead / {REFERENCE}"


def plain(width: int, device: torch.device) -> nn.Linear:
    """Return a frozen bfloat16 layer width x width."""
    base = nn.Linear(width, width, bias=False, device=device, dtype=torch.bfloat16)
    return base.requires_grad_(False)


def packed(width: int, device: torch.device) -> nn.Linear:
    """Return the same layer with its weight in NF4.

    Raises:
        ModuleNotFoundError: bitsandbytes is not installed.
    """
    from bitsandbytes.nn.modules import Linear4bit

    layer = Linear4bit(width, width, False, torch.bfloat16, quant_type="nf4")
    layer.load_state_dict(plain(width, torch.device("cpu")).state_dict())
    return layer.requires_grad_(False).to(device)  # packs the weight


BASES: dict[str, Callable[[int, torch.device], nn.Linear]] = {"bfloat16": plain, "NF4": packed}


def adapted(name: str, base: nn.Linear) -> nn.Module:
    """Return the layer with its adapter, without the PEFT model around it."""
    if name == FROZEN:
        return base
    whole: Any = nn.Sequential(base)
    whole.is_loaded_in_4bit = not base.weight.is_floating_point()  # PEFT reads it
    config = ADAPTERS[name](target_modules="0")
    return get_peft_model(whole, config).base_model.get_submodule("model.0").train()


def step_of(layer: nn.Module, x: Tensor, backend: str) -> Case:
    """Return a function that runs forward and backward, penalty and gradient of x included.

    Args:
        layer: a layer of inputs (..., d).
        x: the input, in bfloat16.
        backend: the backend of torch.compile, or empty for no compilation.
    """
    call = torch.compile(layer, backend=backend) if backend else layer
    leaf, grad = x.detach().requires_grad_(), torch.randn_like(x)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16):
            output = call(leaf)
        penalty = total_penalty(layer)
        if penalty is None:
            output.backward(grad)
        else:
            torch.autograd.backward([output, penalty], [grad, torch.ones_like(penalty)])
        leaf.grad = None
        layer.zero_grad()

    return step


def warm_step(name: str, base: str, x: Tensor, backend: str, found: dict[str, Record]) -> Case:
    """Return a step that has run; put its peak and number of compiled graphs into `found`."""
    before = counters["stats"]["unique_graphs"]
    layer = adapted(name, BASES[base](x.shape[-1], x.device))
    step = step_of(layer, x, backend)
    for _ in range(2):  # the penalty of the first makes the second compile again
        step()
    graphs = counters["stats"]["unique_graphs"] - before
    found[name] = {PEAK: round(peak(step, x.device) / 2**20, 3)}
    found[name] |= {"graphs": graphs} if backend else {}
    return step


def peak(step: Case, device: torch.device) -> int:
    """Return the peak memory of a step beyond the memory before it, in bytes."""
    if device.type == "cpu":
        return grid.peak(step)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    sync_of(device)()
    return torch.cuda.max_memory_allocated(device) - before


def overheads(samples: Mapping[str, Samples], found: Mapping[str, Record]) -> dict[str, Record]:
    """Return time, peak, the overhead over the frozen layer, and its ratio to LoRA's, by layer."""
    rows = {name: microseconds(one) | found[name] for name, one in samples.items()}
    if FROZEN not in rows:
        return rows
    for measure, over, ratio in (("us", OVER, RATIO), (PEAK, PEAK_OVER, PEAK_RATIO)):
        more = {
            name: float(row[measure]) - float(rows[FROZEN][measure]) for name, row in rows.items()
        }
        for name, row in rows.items():
            row[over] = round(more[name], 2)
            if more.get(REFERENCE, 0) > 0:
                row[ratio] = round(more[name] / more[REFERENCE], 2)
    return rows

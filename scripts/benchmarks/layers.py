"""One linear layer in bfloat16, frozen and with each adapter: a step of it, in time and memory."""

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
OVER, RATIO = "over frozen, us", f"in {REFERENCE}'s"
PEAK, PEAK_OVER, PEAK_RATIO = "peak, MB", "peak over frozen, MB", f"peak in {REFERENCE}'s"


def plain(width: int, device: torch.device) -> nn.Linear:
    """A frozen layer width x width."""
    base = nn.Linear(width, width, bias=False, device=device, dtype=torch.bfloat16)
    return base.requires_grad_(False)


def packed(width: int, device: torch.device) -> nn.Linear:
    """The same with its weight in NF4; ModuleNotFoundError without bitsandbytes."""
    from bitsandbytes.nn.modules import Linear4bit

    layer = Linear4bit(width, width, False, torch.bfloat16, quant_type="nf4")
    layer.load_state_dict(plain(width, torch.device("cpu")).state_dict())
    return layer.requires_grad_(False).to(device)  # packs


BASES: dict[str, Callable[[int, torch.device], nn.Linear]] = {"bfloat16": plain, "NF4": packed}


def adapted(name: str, base: nn.Linear) -> nn.Module:
    """The layer alone, without the model about it that PEFT makes."""
    if name == FROZEN:
        return base
    whole: Any = nn.Sequential(base)
    whole.is_loaded_in_4bit = not base.weight.is_floating_point()  # as transformers tells PEFT
    config = ADAPTERS[name](target_modules="0")
    return get_peft_model(whole, config).base_model.get_submodule("model.0").train()


def step_of(layer: nn.Module, x: Tensor, backend: str) -> Case:
    """Forward and backward as in training, the penalty and the gradient of x included.

    Args:
        layer: what takes x (..., d).
        x: in bfloat16.
        backend: of torch.compile, which is left out without one.
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


def tried(name: str, base: str, x: Tensor, backend: str, found: dict[str, Record]) -> Case:
    """A step that has run; into `found` go its memory and the number of compiled graphs."""
    before = counters["stats"]["unique_graphs"]
    layer = adapted(name, BASES[base](x.shape[-1], x.device))
    step = step_of(layer, x, backend)
    for _ in range(2):  # a layer that has left a penalty is compiled again
        step()
    graphs = counters["stats"]["unique_graphs"] - before
    found[name] = {PEAK: round(peak(step, x.device) / 2**20, 3)}
    found[name] |= {"graphs": graphs} if backend else {}
    return step


def peak(step: Case, device: torch.device) -> int:
    """Bytes that a step takes at most, beyond what is there before it."""
    if device.type == "cpu":
        return grid.peak(step)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    sync_of(device)()
    return torch.cuda.max_memory_allocated(device) - before


def overheads(samples: Mapping[str, Samples], found: Mapping[str, Record]) -> dict[str, Record]:
    """By layer its time and peak, what they are over the frozen one's, and that in LoRA's."""
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

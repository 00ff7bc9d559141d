"""Time and memory that an adapter adds to one layer, by width, number of vectors and precision.

The base layer does no work but what autocast would do to its input, so that all that is measured
beyond it is the adapter's: no difference of two large numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from goft_cli import GoftConfig
from scripts.benchmarks.timing import Case, interleave

WIDTHS = (256, 384, 768, 1000, 1024, 3072, 4096, 11008, 14336)
VECTORS = (4, 64, 512, 2048)
BASE, REFERENCE = "base", "lora r=8"
ROTATIONS = ("goft", "qgoft")
NUMBERS = 2**21
"""Of a round: small cases are timed in more rounds than large ones, between the two limits."""
ROUNDS = range(9, 301)


@dataclass(frozen=True)
class Point:
    """One place of the grid.

    Attributes:
        width: d; the layer is d x d.
        vectors: how many pass it.
        autocast: whether bfloat16 autocast is on.
        microseconds: overhead of forward and backward by adapter, over the base.
        peaks: bytes by adapter, of what is alive at once beyond its parameters.
    """

    width: int
    vectors: int
    autocast: bool
    microseconds: dict[str, float]
    peaks: dict[str, int]

    def ratio(self, name: str) -> float:
        """Overhead of an adapter in that of the reference."""
        return self.microseconds[name] / self.microseconds[REFERENCE]


def measure(widths: Sequence[int], vectors: Sequence[int]) -> Iterator[Point]:
    """Measure each point in turn: LoRA, GOFT and qGOFT alternate, round by round."""
    for width in widths:
        layers = {name: layer(name, width) for name in (BASE, REFERENCE, *ROTATIONS)}
        for count in vectors:
            for autocast in (False, True):
                cases = {name: case(one, width, count, autocast) for name, one in layers.items()}
                rounds = min(max(NUMBERS // (width * count) * 9, ROUNDS.start), ROUNDS.stop - 1)
                peaks = {name: peak(one) for name, one in cases.items()}
                found = {name: one.median for name, one in interleave(cases, rounds).items()}
                over = {name: 1e6 * (one - found[BASE]) for name, one in found.items()}
                yield Point(width, count, autocast, over, peaks)


class Passing(nn.Module):
    """A base layer that multiplies nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x as autocast would hand it to a product."""
        if torch.is_autocast_enabled("cpu"):
            return x.to(torch.get_autocast_dtype("cpu"))
        return x.view_as(x)


def layer(name: str, width: int) -> nn.Module:
    """An adapter of a layer d x d whose weight takes no memory and no time."""
    if name == BASE:
        return Passing()
    linear = nn.Linear(1, 1, bias=False)
    linear.in_features = linear.out_features = width
    linear.weight = nn.Parameter(torch.zeros(1, 1).expand(width, width), requires_grad=False)
    model = nn.Sequential(linear)
    config: Any = LoraConfig(r=8, target_modules=["0"])
    if name in ROTATIONS:
        # The penalty depends on no vector: whole steps show what it costs.
        config = GoftConfig(method=name, target_modules=["0"], penalty_weight=0)
    adapted: Any = get_peft_model(model, config).base_model.model[0]
    adapted.base_layer = Passing()
    return adapted.train()


def case(layer: nn.Module, width: int, vectors: int, autocast: bool) -> Case:
    """Forward and backward of a layer on random vectors."""
    x = torch.randn(vectors, width, requires_grad=True)
    reached = torch.randn(vectors, width, dtype=torch.bfloat16 if autocast else torch.float32)
    wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]

    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = layer(x)
        torch.autograd.grad(out, wanted, reached)

    return run


def peak(case: Case) -> int:
    """Bytes that PyTorch's allocations of one call reach at most."""
    case()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        case()
    alive = most = 0
    events: Any = found.profiler
    for event in events.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
    return most


def table_of(points: Sequence[Point]) -> Table:
    """One row a width and number of vectors: time and memory in those of LoRA."""
    table = Table(title="overhead of one layer, in that of LoRA r=8")
    for heading in ("width", "vectors", "precision", "LoRA, µs", "GOFT", "qGOFT", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in points:
        memory = max(point.peaks[name] for name in ROTATIONS) / point.peaks[REFERENCE]
        table.add_row(
            f"{point.width:,}",
            f"{point.vectors:,}",
            "bf16 autocast" if point.autocast else "float32",
            f"{point.microseconds[REFERENCE]:,.0f}",
            *(f"{point.ratio(name):.2f}" for name in ROTATIONS),
            f"{memory:.2f}",
        )
    return table


def as_json(points: Sequence[Point]) -> str:
    """All points as they were measured."""
    return json.dumps([vars(point) for point in points], indent=2) + "\n"

"""Measure the time and memory that an adapter adds to one layer, by width, vectors and precision.

The base layer only casts its input as autocast would and multiplies nothing. All that is measured
beyond it is therefore the adapter's cost, and not a difference of two large numbers.
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
"""Width times vectors of a case that gets the fewest rounds; smaller cases get more."""
ROUNDS = range(9, 301)
"""Fewest rounds of a case, and one more than the most."""


@dataclass(frozen=True)
class Point:
    """The measurements at one point of the grid.

    Attributes:
        width: d; the layer is d x d.
        vectors: number of vectors.
        autocast: whether bfloat16 autocast is on.
        microseconds: time of forward and backward beyond the base layer's, by adapter.
        peaks: peak bytes during a call, beyond the parameters, by adapter.
    """

    width: int
    vectors: int
    autocast: bool
    microseconds: dict[str, float]
    peaks: dict[str, int]

    def ratio(self, name: str) -> float:
        """Return the overhead of an adapter over that of the reference."""
        return self.microseconds[name] / self.microseconds[REFERENCE]


def measure(widths: Sequence[int], vectors: Sequence[int]) -> Iterator[Point]:
    """Yield the measurements of each point; LoRA, GOFT and qGOFT are timed in turns."""
    for width in widths:
        layers = {name: layer(name, width) for name in (BASE, REFERENCE, *ROTATIONS)}
        for count in vectors:
            for autocast in (False, True):
                cases = {name: case(one, width, count, autocast) for name, one in layers.items()}
                rounds = min(max(NUMBERS // (width * count) * 9, ROUNDS.start), ROUNDS.stop - 1)
                peaks = {name: peak(one) for name, one in cases.items()}
                found = {name: one.median for name, one in interleave(cases, rounds).items()}
                extra = {name: 1e6 * (one - found[BASE]) for name, one in found.items()}
                yield Point(width, count, autocast, extra, peaks)


class Passing(nn.Module):
    """A base layer that returns its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x in the dtype to which autocast would cast it for a matrix product."""
        if torch.is_autocast_enabled("cpu"):
            return x.to(torch.get_autocast_dtype("cpu"))
        return x.view_as(x)


def layer(name: str, width: int) -> nn.Module:
    """Return an adapter on a layer d x d whose frozen weight takes no memory and no time."""
    if name == BASE:
        return Passing()
    linear = nn.Linear(1, 1, bias=False)
    linear.in_features = linear.out_features = width
    linear.weight = nn.Parameter(torch.zeros(1, 1).expand(width, width), requires_grad=False)
    model = nn.Sequential(linear)
    config: Any = LoraConfig(r=8, target_modules=["0"])
    if name in ROTATIONS:
        # The penalty does not depend on the vectors; whole steps include its cost.
        config = GoftConfig(method=name, target_modules=["0"], penalty_weight=0)
    adapted: Any = get_peft_model(model, config).base_model.model[0]
    adapted.base_layer = Passing()
    return adapted.train()


def case(layer: nn.Module, width: int, vectors: int, autocast: bool) -> Case:
    """Return a function that runs forward and backward of a layer on random vectors."""
    x = torch.randn(vectors, width, requires_grad=True)
    reached = torch.randn(vectors, width, dtype=torch.bfloat16 if autocast else torch.float32)
    wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]

    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = layer(x)
        torch.autograd.grad(out, wanted, reached)

    return run


def peak(case: Case) -> int:
    """Return the peak bytes of PyTorch's allocations during one call."""
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
    """Return a table with a row per point: time and memory as multiples of LoRA's."""
    table = Table(title="overhead on one layer, as a multiple of LoRA r=8")
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
    """Return all points as JSON."""
    return json.dumps([vars(point) for point in points], indent=2) + "\n"

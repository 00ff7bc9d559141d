"""What the comparison found: one document for the JSON file, and the tables read from it."""

from __future__ import annotations

import json
import operator
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Measured
from benchmarks.inference import BASE, MERGED
from benchmarks.memory import in_mib
from benchmarks.methods import FROZEN, REFERENCE
from benchmarks.summary import excess, paired, spread
from goft_cli.errors import GoftError

Document = dict[str, Any]
NOTHING = "-"
PIPE_WIDTH = 160


def document(measured: Measured) -> Document:
    """Return raw measurements and statistics, by method."""
    return {
        "training": {name: training(name, measured) for name in measured.training},
        "forward": forward(measured),
    }


def training(name: str, measured: Measured) -> Document:
    """Return what is known of one method's training steps."""
    seconds = measured.training[name]
    frozen, reference = (measured.training.get(other) for other in (FROZEN, REFERENCE))
    entry = {
        "adapter_parameters": measured.adapter_parameters[name],
        "loss": measured.loss[name],
        "seconds": seconds,
        "ms": in_ms(seconds),
        "ratio_to_lora_8": reference and paired(seconds, reference).as_dict(),
        "ms_over_frozen": frozen and in_ms(map(operator.sub, seconds, frozen)),
        "share_over_frozen": frozen and paired(seconds, frozen, excess).as_dict(),
    }
    if name in measured.memory:
        entry["memory_bytes"] = measured.memory[name]
        entry["memory_mib"] = mib = in_mib(measured.memory[name])
        for key, other in (("frozen", FROZEN), ("lora_8", REFERENCE)):
            known = measured.memory.get(other)
            entry[f"memory_mib_over_{key}"] = None if known is None else mib - in_mib(known)
    return entry


def forward(measured: Measured) -> Document:
    """Return what is known of forward passes, the base model's among them."""
    base = measured.unmerged[BASE]
    found: Document = {}
    for name, seconds in measured.unmerged.items():
        entry = found[name] = {"unmerged": beside(seconds, base)}
        if name in measured.merged:
            times = measured.merged[name]
            entry["merged"] = beside(times[MERGED], times[BASE])
            entry["merge"] = {"seconds": times["merge"], "ms": in_ms(times["merge"])}
    return found


def beside(seconds: list[float], base: list[float]) -> Document:
    """Return times with what they are to the base model's of the same rounds."""
    return {
        "seconds": seconds,
        "base_seconds": base,
        "ms": in_ms(seconds),
        "ratio_to_base": paired(seconds, base).as_dict(),
    }


def in_ms(seconds: Any) -> dict[str, float]:  # noqa: ANN401 - any iterable of floats
    """Summarise seconds in milliseconds."""
    return spread([1000 * value for value in seconds]).as_dict()


def training_table(found: Document, title: str) -> Table:
    """Lay out the training steps; medians with quartiles in brackets."""
    has_memory = any("memory_mib" in entry for entry in found.values())
    columns = ["method", "adapter parameters", "step ms", "x LoRA r=8", "over frozen ms", "share"]
    memory = ["peak MiB", "- frozen", "- LoRA r=8"] if has_memory else []
    table = empty([*columns, *memory], title)
    for name, entry in found.items():
        cells = [
            name,
            f"{entry['adapter_parameters']:,}",
            cell(entry["ms"], 1),
            cell(entry["ratio_to_lora_8"], 2),
            cell(entry["ms_over_frozen"], 1),
            cell(entry["share_over_frozen"], 0, percent=True),
        ]
        keys = ["memory_mib", "memory_mib_over_frozen", "memory_mib_over_lora_8"] if memory else []
        table.add_row(*cells, *(number(entry.get(key), 1) for key in keys))
    return table


def forward_table(found: Document, title: str) -> Table:
    """Lay out the forward passes."""
    columns = ["method", "unmerged ms", "x base", "merged ms", "x base", "merge ms"]
    table = empty(columns, title)
    for name, entry in found.items():
        cells = [name]
        for key in ("unmerged", "merged"):
            times = entry.get(key)
            cells += [cell(times and times["ms"], 1), cell(times and times["ratio_to_base"], 3)]
        merge = entry.get("merge")
        table.add_row(*cells, cell(merge and merge["ms"], 1))
    return table


def save(found: Document, path: Path) -> None:
    """Write the file anew."""
    path.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")


def claim(path: Path | None) -> None:
    """Make sure that a file can be written before measuring takes its time.

    Raises:
        GoftError: it cannot.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise GoftError(f"{path}: cannot be written ({error.strerror}); name another") from error


def console() -> Console:
    """Return a console as wide as the terminal, or as the tables where there is none."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def empty(columns: Sequence[str], title: str) -> Table:
    """Return a table with numbers to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def cell(values: dict[str, float] | None, digits: int, *, percent: bool = False) -> str:
    """Write a median with its quartiles."""
    if values is None:
        return NOTHING
    mark = f".{digits}{'%' if percent else 'f'}"
    median, low, high = (format(values[key], mark) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def number(value: float | None, digits: int) -> str:
    """Write a number, or that there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"

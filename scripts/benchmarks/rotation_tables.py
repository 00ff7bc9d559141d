"""Build the tables of times of the rotation alone and of merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from scripts.benchmarks.rotations import Timed


def rotation_table(title: str, timed: Sequence[Timed]) -> Table:
    """Return a table with a row per size, kind and pass, and a column per engine."""
    engines = list(dict.fromkeys(one.engine for one in timed))
    rows: dict[tuple[str, ...], dict[str, Timed]] = {}
    for one in timed:
        row = (f"{one.dim:,}", f"{one.tokens:,}", one.kind, one.passes)
        rows.setdefault(row, {})[one.engine] = one
    table = _table(title, ("width", "vectors", "kind", "pass", *engines))
    table.caption = "milliseconds: median ± half the interquartile range, and ratio to staged"
    for row, by_engine in rows.items():
        table.add_row(*row, *(_cell(by_engine.get(engine)) for engine in engines))
    return table


def merge_table(width: int, merges: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table with a row per method and dtype of the weight."""
    title = f"merging a layer of {width:,} x {width:,}"
    table = _table(title, ("merge", "seconds", "extra memory", "all of LLaMA2-7B"))
    for name, found in merges.items():
        seconds = f"{found['median']:.3f} ±{(found['high'] - found['low']) / 2:.1g}"
        model = f"{found['llama2-7b']:.1f} s" if "llama2-7b" in found else ""
        table.add_row(name, seconds, f"{found['bytes'] / 2**20:.0f} MB", model)
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cell(one: Timed | None) -> str:
    if one is None:
        return ""
    ratio = "" if one.ratio is None else f"  {one.ratio:.2f}x"
    return f"{1e3 * one.median:.3g} ±{500 * (one.high - one.low):.1g}{ratio}"

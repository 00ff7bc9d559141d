"""A certificate for people: the differences, and the layers that turned most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from os.path import commonpath

from rich.table import Table

from goft_cli.exporting.certificate import Certificate, LayerChange

SHOWN_LAYERS = 8
"""How many layers the table on the screen has; the file has all of them."""

COLUMNS = {
    "|TᵀT - I|": ("orthogonality_error", "{:.1e}"),
    "mean angle": ("mean_angle_degrees", "{:.2f}°"),
    "deviation": ("largest_deviation", "{:.1e}"),
    "weights turn": ("neuron_turn_degrees", "{:.2f}°"),
    "norm change": ("neuron_norm_change", "{:.1e}"),
    "residual": ("residual", "{:.3f}"),
}
"""Title, field of `LayerChange`, and how it is written."""


def summary_table(certificate: Certificate) -> Table:
    """Lay out the differences, and the layers that turned most."""
    run, found = certificate.run, certificate.outputs
    table = Table(title=f"{run['task']}  {run['model']}  {run['adapter']}", min_width=44)
    table.add_column("measure")
    table.add_column("value", justify="right")
    if found is None:
        table.add_row("rows compared", "none")
    else:
        table.add_row("rows compared", f"{sum(found.rows.values()):,}")
        table.add_row("largest difference", f"[bold]{found.largest:.1e}")
        table.add_row("mean difference", f"{found.mean:.1e}")
        table.add_row(f"one rounding in {found.dtype}", f"{found.rounding:.1e}")
        table.add_row(
            "accepted at most", "any" if found.tolerance is None else f"{found.tolerance:.1e}"
        )
    return table


def layer_table(layers: Mapping[str, LayerChange]) -> Table:
    """Lay out the layers whose weights turned most, the first of them first."""
    ranked = sorted(layers.items(), key=lambda item: -item[1].neuron_turn_degrees)[:SHOWN_LAYERS]
    rows = {name: asdict(change) for name, change in ranked}
    present = [
        (title, key, form)
        for title, (key, form) in COLUMNS.items()
        if any(row[key] is not None for row in rows.values())
    ]
    shared = shared_beginning(list(layers))
    table = Table(title=f"layers of {shared or 'the model'} whose weights turned most")
    table.add_column("layer", overflow="fold")
    for title, _, _ in present:
        table.add_column(title, justify="right")
    for name, row in rows.items():
        cells = [form.format(row[key]) for _, key, form in present]
        table.add_row(name.removeprefix(f"{shared}."), *cells)
    table.caption = f"{len(rows)} of {len(layers)}; merge_report.json has all"
    return table


def shared_beginning(names: list[str]) -> str:
    """Return the modules that all names lie in: `a.b` of `a.b.1.x` and `a.b.2`."""
    return commonpath([name.replace(".", "/") for name in names]).replace("/", ".")

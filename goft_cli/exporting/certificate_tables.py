"""A certificate for people: the differences, and the layers that turned most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os.path import commonpath

from goft_cli.exporting.certificate import Certificate, LayerChange
from goft_cli.system.tables import Table, measures, styled

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
    rows: list[Sequence[str]] = [("rows compared", "none")]
    if found is not None:
        accepted = "any" if found.tolerance is None else f"{found.tolerance:.1e}"
        rows = [
            ("rows compared", f"{sum(found.rows.values()):,}"),
            ("largest difference", *styled("bold", f"{found.largest:.1e}")),
            ("mean difference", f"{found.mean:.1e}"),
            (f"one rounding in {found.dtype}", f"{found.rounding:.1e}"),
            ("accepted at most", accepted),
        ]
    return measures(f"{run['task']}  {run['model']}  {run['adapter']}", rows, "value")


def layer_table(layers: Mapping[str, LayerChange]) -> Table:
    """Lay out the layers whose weights turned most, the first of them first."""
    ranked = sorted(layers.items(), key=lambda item: -item[1].neuron_turn_degrees)[:SHOWN_LAYERS]
    found = {name: asdict(change) for name, change in ranked}
    present = {
        title: (key, form)
        for title, (key, form) in COLUMNS.items()
        if any(row[key] is not None for row in found.values())
    }
    shared = shared_beginning(list(layers))
    rows = [
        [name.removeprefix(f"{shared}."), *(f.format(row[key]) for key, f in present.values())]
        for name, row in found.items()
    ]
    title = f"layers of {shared or 'the model'} whose weights turned most"
    caption = f"{len(rows)} of {len(layers)}; merge_report.json has all"
    return Table(["layer", *present], rows, title, "fr", caption)


def shared_beginning(names: list[str]) -> str:
    """Return the modules that all names lie in: `a.b` of `a.b.1.x` and `a.b.2`."""
    return commonpath([name.replace(".", "/") for name in names]).replace("/", ".")

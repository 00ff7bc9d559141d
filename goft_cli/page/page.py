"""From records and measurements to the page."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from goft_cli.comparison.statistics import deviation
from goft_cli.naming import real_name
from goft_cli.page import figures
from goft_cli.page.layers import LayerReport
from goft_cli.runs.configuration import flatten
from goft_cli.runs.files import write_text
from goft_cli.runs.record import RunRecord
from goft_cli.sweeps.leaderboard import told_apart

LAYER_COLUMNS = [
    "layer",
    "neurons turn",
    "pairs, mean",
    "pairs, most",
    "orthogonality error",
    "block deviation, most",
    "neuron length, after / before",
    "energy before",
    "energy change",
]


@dataclass(frozen=True)
class Panel:
    """A figure and what it shows; `name` is its PNG's."""

    name: str
    title: str
    figure: Figure

    @property
    def is_wide(self) -> bool:
        """Whether it takes the whole page."""
        return self.figure.get_figwidth() >= figures.WHOLE_PAGE

    @property
    def svg(self) -> Markup:
        """The figure, to stand in the page."""
        return Markup(figures.as_svg(self.figure))


def panels(*drawn: tuple[str, str, Figure | None]) -> list[Panel]:
    """Keep what there was something to draw of."""
    return [Panel(name, title, figure) for name, title, figure in drawn if figure is not None]


def curve_panels(runs: Sequence[RunRecord]) -> list[Panel]:
    """Draw loss and headline over updates."""
    headline = runs[0].cfg.task.headline
    score = headline.replace("_", " ")
    losses = {"loss": "-", "eval_loss": "o--"}
    return panels(
        (
            "loss",
            "Task loss: training (line), evaluation (dots)",
            figures.curves(runs, losses, "loss"),
        ),
        ("score", f"Evaluation: {score}", figures.curves(runs, {f"eval_{headline}": "o-"}, score)),
    )


def geometry_panels(layers: Sequence[LayerReport], number: int) -> list[Panel]:
    """Draw what one run did to its layers."""
    return panels(
        (f"turned-{number}", "Which layers turned most", figures.turned(layers)),
        (f"stages-{number}", "How far each stage of the tree turns", figures.stages(layers)),
        (f"angles-{number}", "Angles of every layer", figures.angles_by_layer(layers)),
    )


def layer_row(layer: LayerReport) -> list[str]:
    """Return one line of the table of layers."""
    rotation, ratios = layer.rotation, layer.neurons.norm_ratios
    pairs = layer.pair_angles.abs()
    return [
        layer.name,
        f"{layer.turned:.2f}°",
        f"{pairs.mean():.2f}°" if rotation else "",
        f"{pairs.max():.1f}°" if rotation else "",
        f"{rotation.orthogonality_error:.1e}" if rotation else "",
        f"{rotation.deviations.max():.3f}" if rotation else "",
        f"{ratios.min():.3f} to {ratios.max():.3f}",
        f"{layer.energy_before:.4f}",
        f"{layer.energy_change:+.2%}" if math.isfinite(layer.energy_change) else "",
    ]


def score_table(runs: Sequence[RunRecord]) -> list[list[str]]:
    """Return a header and one line per run, the headline first."""
    scores = [flatten(run.metrics["metrics"]) for run in runs]
    names = list(dict.fromkeys(name for found in scores for name in found))
    headline = runs[0].cfg.task.headline.replace("_", " ")
    fixed = ["adapter", "seed", headline, "parameters", "time", "memory", "merged to trained"]
    header = [*fixed, *(name.replace(".", " ").replace("_", " ") for name in names)]
    lines = [
        [
            run.cfg.adapter.name,
            str(run.cfg.seed),
            f"{run.score:.4f}",
            f"{run.metrics['trainable_parameters']:,}",
            f"{run.metrics['train_seconds']:.1f} s",
            f"{run.metrics['peak_memory_bytes'] / 2**20:,.0f} MB",
            f"{run.metrics['agreement']['merged']:.1e}",
            *(f"{found[name]:.4f}" if name in found else "" for name in names),
        ]
        for run, found in zip(runs, scores, strict=True)
    ]
    return [header, *lines]


def adapter_table(runs: Sequence[RunRecord]) -> list[list[str]]:
    """Return a header and one line per adapter, or per setting of it: scores over the seeds."""
    by_setting: dict[str, list[float]] = defaultdict(list)
    for run, changed in told_apart(runs).items():
        by_setting[f"{run.adapter} {changed}".rstrip()].append(run.score)
    lines = []
    for name, scores in by_setting.items():
        spread = deviation(scores)
        around = "" if spread is None else f" ± {spread:.4f}"
        ends = f"{min(scores):.4f} to {max(scores):.4f}"
        lines.append([name, str(len(scores)), f"{statistics.mean(scores):.4f}{around}", ends])
    headline = runs[0].cfg.task.headline.replace("_", " ")
    return [["adapter", "runs", f"{headline}, mean ± deviation", "lowest to highest"], *lines]


def facts(run: RunRecord, command: str | None) -> dict[str, str]:
    """Return what made the numbers, by name."""
    manifest, environment = run.manifest, run.manifest["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    return {
        "command": command or f"as {run.folder.config} says",
        "recipe": manifest["recipe"],
        "model": f"{run.cfg.model.path}, weights {manifest['model']['fingerprint'][:12]}",
        "data": f"{manifest['data'].get('source', run.cfg.task.data_dir)}, "
        + ", ".join(f"{rows:,} {split}" for split, rows in manifest["data"]["rows"].items()),
        "versions": f"goft {environment['goft_cli']}, Python {environment['python']}, {packages}",
        "machine": f"{environment['platform']}, {environment['cpu_threads']} threads, "
        + (", ".join(environment["gpus"]) or "no GPU"),
        "source": str(environment["source_revision"]),
        "configuration": str(run.metrics["config_sha256"])[:12],
        "folder": str(run.folder.path),
    }


@dataclass(frozen=True)
class Measured:
    """One run's layers, as a table with its header and as figures."""

    run: RunRecord
    table: list[list[str]]
    panels: list[Panel]


def measured(run: RunRecord, layers: Sequence[LayerReport], number: int) -> Measured:
    """Lay out what one run did to its layers; `number` tells its figures from others'."""
    table = [LAYER_COLUMNS, *map(layer_row, layers)]
    return Measured(run, table, geometry_panels(layers, number))


def render(
    runs: Sequence[RunRecord], geometry: Sequence[Measured], commands: Sequence[str | None]
) -> tuple[str, list[Panel]]:
    """Return the page, and the figures that stand in it.

    Args:
        runs: all that the page is about.
        geometry: of some of them.
        commands: what makes each run again.
    """
    environment = Environment(
        loader=PackageLoader("goft_cli.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    curves = curve_panels(runs)
    html = environment.get_template("report.html.j2").render(
        title=f"{runs[0].cfg.task.name} · {real_name(runs[0].cfg.model)}",
        runs=runs,
        headline=runs[0].cfg.task.headline.replace("_", " "),
        scores=score_table(runs),
        adapters=adapter_table(runs),
        curves=curves,
        geometry=geometry,
        facts=[(run.label, facts(run, cmd)) for run, cmd in zip(runs, commands, strict=True)],
    )
    return html, [*curves, *(panel for one in geometry for panel in one.panels)]


def write(html: str, drawn: Sequence[Panel], folder: Path) -> Path:
    """Write `report.html`, and each figure as PNG beside it."""
    page = folder / "report.html"
    write_text(page, html)
    for panel in drawn:
        (folder / f"{panel.name}.png").write_bytes(figures.as_png(panel.figure))
    return page

"""One HTML page on finished runs: scores, curves, changes of the weights, provenance.

Styles and figures are in the file: a browser that shows it requests nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from goft_cli.config.model import real_name
from goft_cli.run.by_class import class_table
from goft_cli.run.configuration import flatten
from goft_cli.run.layers import LayerReport
from goft_cli.run.record import RunRecord
from goft_cli.run.retained import valid
from goft_cli.run.summary import megabytes
from goft_cli.studies.leaderboard import mean_and_deviation, told_apart
from goft_cli.system.figures import save
from goft_cli.system.files import write_text
from goft_cli.system.palette import Look, looks_of
from goft_cli.system.tables import Table, of_records, spaced
from goft_cli.verbs.report import figures
from goft_cli.verbs.report.gather import one_per_adapter
from goft_cli.verbs.rewind import show


@dataclass(frozen=True)
class Panel:
    """A figure and its heading; `name` is its PNG's."""

    name: str
    title: str
    figure: Figure

    @property
    def is_wide(self) -> bool:
        """Whether it takes the whole page."""
        return self.figure.get_figwidth() >= figures.WHOLE_PAGE

    @property
    def svg(self) -> Markup:
        """The figure as part of the page."""
        return Markup(figures.as_svg(self.figure))


@dataclass(frozen=True)
class Section:
    """One run's layers, classes or strengths, as a table and as figures."""

    run: RunRecord
    table: Table
    panels: list[Panel]


def panels(*drawn: tuple[str, str, Figure | None]) -> list[Panel]:
    """Drop the figures that nothing was logged for."""
    return [Panel(name, title, figure) for name, title, figure in drawn if figure is not None]


def curve_panels(runs: Sequence[RunRecord], looks: Mapping[str, Look]) -> list[Panel]:
    """Draw loss and headline over updates."""
    headline = runs[0].cfg.task.headline
    score = spaced(headline)
    losses = figures.curves(runs, looks, {"loss": "-", "eval_loss": "--"}, "loss")
    scores = figures.curves(runs, looks, {f"eval_{headline}": "-"}, score)
    return panels(
        ("loss", "Task loss: training (line), evaluation (markers)", losses),
        ("score", f"Evaluation: {score}", scores),
    )


def layer_section(
    run: RunRecord, layers: Sequence[LayerReport], number: int, look: Look
) -> Section:
    """Lay out how one run changed its layers; `number` is in the names of its figures."""
    drawn = panels(
        (f"turned-{number}", "Which layers turned most", figures.turned(layers)),
        (f"stages-{number}", "How far each stage of the tree turns", figures.stages(layers, look)),
        (f"angles-{number}", "Angles of every layer", figures.angles_by_layer(layers)),
    )
    return Section(run, of_records([layer_row(layer) for layer in layers]), drawn)


def class_sections(runs: Sequence[RunRecord], looks: Mapping[str, Look]) -> list[Section]:
    """Lay out scores and confusions by class of each run that recorded them."""
    found = []
    for number, run in enumerate(runs, start=1):
        if run.classes:
            look = looks[run.adapter]
            taken, scores = (
                draw(run.classes, look) for draw in (figures.confusion, figures.class_bars)
            )
            lowest = f" (the lowest {figures.CELLS})" * (
                len(run.classes["classes"]) > figures.CELLS
            )
            drawn = panels(
                (f"classes-{number}", "What is taken for what", taken),
                (f"by-class-{number}", f"F1, precision and recall of each class{lowest}", scores),
            )
            found.append(Section(run, class_table(run.classes), drawn))
    return found


def strength_sections(runs: Sequence[RunRecord], looks: Mapping[str, Look]) -> list[Section]:
    """Lay out the runs that `goft rewind` has scored at several strengths."""
    return [
        Section(
            run,
            show.table(run.rewound),
            [
                Panel(name, title, show.draw_panels(run.rewound, [key], looks[run.adapter]))
                for key, name, title in (
                    ("score", f"strength-{number}", "Score by strength"),
                    ("forgotten", f"forgotten-{number}", "What is forgotten, by strength"),
                )
                if key in show.panel_keys(run.rewound)
            ],
        )
        for number, run in enumerate(runs, start=1)
        if run.rewound
    ]


def layer_row(layer: LayerReport) -> dict[str, object]:
    """Return one line of the table of layers, by column."""
    pairs, change, turns = np.abs(layer.pair_angles), layer.energy_change, bool(layer.stages)
    return {
        "layer": layer.name,
        "neurons turn": f"{layer.turned:.2f}°",
        "pairs, mean": f"{pairs.mean():.2f}°" if turns else None,
        "pairs, most": f"{pairs.max():.1f}°" if turns else None,
        "orthogonality error": f"{layer.orthogonality_error:.1e}" if turns else None,
        "block deviation, most": f"{layer.deviation:.3f}" if turns else None,
        "neuron length, after / before": f"{layer.shortest:.3f} to {layer.longest:.3f}",
        "energy before": f"{layer.energy_before:.4f}",
        "energy change": f"{change:+.2%}" if math.isfinite(change) else None,
    }


def score_row(run: RunRecord) -> dict[str, object]:
    """Return one line of the table of runs, the headline first."""
    scores = {spaced(key): f"{value:.4f}" for key, value in flatten(run.metrics["metrics"]).items()}
    return {
        "adapter": run.adapter,
        "seed": run.seed,
        spaced(run.cfg.task.headline): f"{run.score:.4f}",
        "parameters": f"{run.parameters:,}",
        "time": f"{run.train_seconds:.1f} s",
        "memory": megabytes(run.peak_memory_bytes),
        "merged to trained": f"{run.metrics['agreement']['merged']:.1e}",
        **scores,
    }


def retention(runs: Sequence[RunRecord]) -> list[tuple[str, Table]]:
    """Lay out the measures of forgetting, by value of `retain`: a row per run."""
    found: dict[str, list[dict[str, object]]] = defaultdict(list)
    for run in runs:
        for one in valid(run):
            row: dict[str, object] = {"run": run.label, "strength": f"{one.strength:g}"}
            row[f"forgotten: {one.label}"] = f"{one.forgotten:.4f}"
            for name, value in one.measures.items():
                base = f" (base {one.base[name]:.4f})" if name in one.base else ""
                row[spaced(name)] = f"{value:.4f}{base}"
            found[one.spec].append(row)
    return [(f"retain={spec}", of_records(rows)) for spec, rows in found.items()]


def adapter_table(runs: Sequence[RunRecord]) -> Table:
    """Return one row per adapter, or per setting of it: scores over the seeds."""
    by_setting: dict[str, list[float]] = defaultdict(list)
    for run, changed in told_apart(runs).items():
        by_setting[f"{run.adapter} {changed}".rstrip()].append(run.score)
    lines = []
    for name, scores in by_setting.items():
        ends = f"{min(scores):.4f} to {max(scores):.4f}"
        lines.append([name, str(len(scores)), mean_and_deviation(scores, 4), ends])
    headline = spaced(runs[0].cfg.task.headline)
    columns = ["adapter", "runs", f"{headline}, mean ± deviation", "lowest to highest"]
    return Table(columns, lines)


def facts(run: RunRecord, command: str | None) -> dict[str, str]:
    """Return what determined the results, by name."""
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


def write(
    runs: Sequence[RunRecord],
    geometry: Sequence[Section],
    commands: Sequence[str | None],
    folder: Path,
) -> list[str]:
    """Write `report.html`, and each figure as PNG beside it, and return the names of the files.

    `commands` make each run again.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    looks = looks_of(run.adapter for run in runs)
    curves, classes = curve_panels(runs, looks), class_sections(one_per_adapter(runs), looks)
    strengths = strength_sections(runs, looks)
    html = environment.get_template("report.html.j2").render(
        title=f"{runs[0].cfg.task.name} · {real_name(runs[0].cfg.model)}",
        runs=runs,
        headline=spaced(runs[0].cfg.task.headline),
        scores=of_records([score_row(run) for run in runs]),
        adapters=adapter_table(runs),
        curves=curves,
        retention=retention(runs),
        classes=classes,
        strengths=strengths,
        notes=show.notes,
        geometry=geometry,
        facts=[(run.label, facts(run, cmd)) for run, cmd in zip(runs, commands, strict=True)],
    )
    write_text(folder / "report.html", html)
    drawn = [*curves, *(panel for one in [*strengths, *classes, *geometry] for panel in one.panels)]
    for panel in drawn:
        save(panel.figure, folder / f"{panel.name}.png", dpi=180)
    return ["report.html", *(f"{panel.name}.png" for panel in drawn)]

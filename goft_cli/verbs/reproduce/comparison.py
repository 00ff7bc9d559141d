"""Comparison of our results with the paper's: its tables and its plot."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from posixpath import commonpath
from typing import TYPE_CHECKING, Any

from goft_cli.config import EVERY, HEADLINE, MeasureConfig
from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import deviation, mean_and_deviation, prediction_radius
from goft_cli.studies.recipes import Cell, read_recipe
from goft_cli.system.errors import GoftError
from goft_cli.system.figures import legend, save, style
from goft_cli.system.palette import COLOURS
from goft_cli.system.tables import Table, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSIDE, OUTSIDE, NOT_COMPARABLE = "inside", "outside", "not comparable"
REHEARSED = "a rehearsal"
RULE = (
    "inside: the paper's number, taken for one more run, lies in the 95 % prediction interval of "
    "our seeds, mean ± t · deviation · sqrt(1 + 1/n)"
)
# Paths and ways to compute; any other override on the command line changes the run.
HARMLESS = {
    "model.path",
    "task.data_dir",
    "benchmark.data_dir",
    "benchmark.judge.base_url",
    "tracker",
    "trainer.use_cpu",
    "trainer.per_device_eval_batch_size",
    "trainer.dataloader_num_workers",
}
COLUMNS = ("result", "measure", "ours", "n", "paper", "off by", "verdict")
STYLES = {INSIDE: "green", OUTSIDE: "yellow"}
OURS, PAPER = COLOURS[:2]
MOST_COLUMNS = 3
PANEL_WIDTH, LINE_HEIGHT, PANEL_MARGIN = 4.2, 0.32, 0.9


@dataclass(frozen=True)
class Comparison:
    """One number of the paper, and ours for every seed, all in the paper's unit.

    Attributes:
        cell: name of the method's recipe, such as `table1/cola/qgoft`.
        measure: name of the number.
        digits: decimals that the paper prints.
        ours: value by seed.
        paper: None where the paper prints no number.
        obstacle: why the two do not compare; None if they do.
        model_path: the `model.path` that the user gave; by default the recipe's.
    """

    cell: str
    measure: str
    digits: int
    ours: dict[int, float]
    paper: float | None
    obstacle: str | None
    model_path: str | None = None

    @property
    def recipe(self) -> str:
        """Name of the recipe, such as `table1/cola`."""
        return self.cell.rpartition("/")[0]

    @property
    def method(self) -> str:
        """Name of the method within it."""
        return self.cell.rpartition("/")[2]

    @property
    def mean(self) -> float:
        """Ours, averaged over the seeds."""
        return statistics.mean(self.ours.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of one."""
        return deviation(list(self.ours.values()))

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.paper is None else self.mean - self.paper

    @property
    def verdict(self) -> str:
        """Inside or outside the noise of the seeds, by `RULE`, or not comparable."""
        if self.obstacle is not None or self.difference is None:
            return NOT_COMPARABLE
        rounding = 0.5 * 10**-self.digits
        noise = prediction_radius(list(self.ours.values()))
        return INSIDE if abs(self.difference) <= noise + rounding else OUTSIDE


def compare_with_paper(
    cell: Cell, runs: Sequence[RunRecord], words: Sequence[str], *, rehearsal: bool
) -> list[Comparison]:
    """Compare every measure of a recipe that has this method; `words` are the user's overrides."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    return [
        Comparison(
            cell=cell.name,
            measure=runs[0].headline if label == HEADLINE else label,
            digits=measure.digits,
            ours={run.seed: value(run, measure) for run in runs},
            paper=measure.paper[cell.method],
            obstacle=REHEARSED if rehearsal else next(obstacles(cell, measure, runs, words), None),
            model_path=given.get("model.path"),
        )
        for label, measure in cell.recipe.measures.items()
        if cell.method in measure.paper
    ]


def value(run: RunRecord, measure: MeasureConfig) -> float:
    """Return a run's number in the paper's unit."""
    found: Any = run.metrics
    for step in measure.key.split("."):
        if not isinstance(found, dict) or step not in found:
            raise GoftError(
                f"{run.folder.metrics}: the file has no {measure.key}", "correct the recipe's key"
            )
        found = found[step]
    return measure.scale * found


def obstacles(
    cell: Cell, measure: MeasureConfig, runs: Sequence[RunRecord], words: Sequence[str]
) -> Iterator[str]:
    """Yield the reasons not to compare."""
    stated, cfg = cell.recipe.not_comparable, runs[0].cfg
    if measure.paper[cell.method] is None:
        yield "the paper prints no number"
    yield from (stated[name] for name in (cell.method, EVERY) if name in stated)
    changed = [word for word in words if word.partition("=")[0] not in HARMLESS]
    if changed:
        yield f"the command line changed the run: {' '.join(changed)}"
    if any(not is_published(run) for run in runs):
        yield "the data is not the published one"
    if cfg.adapter.recipe not in cfg.task.recipe.by_adapter:
        yield "no learning rate is published for this method and task; ours is a guess"
    if len(runs) < 2:
        yield "one seed shows no noise"


def is_published(run: RunRecord) -> bool:
    """Tell whether data and benchmark, where their sizes are known, are the published ones."""
    read = [(run.cfg.task, run.manifest["data"])]
    if run.cfg.benchmark:
        read.append((run.cfg.benchmark, run.manifest["benchmark"]))
    return all(data["is_the_benchmark"] for task, data in read if task.benchmark_sizes)


def distinct_obstacles(found: Sequence[Comparison]) -> list[str]:
    """Return each reason not to compare, once."""
    return list(dict.fromkeys(one.obstacle for one in found if one.obstacle))


def cells_of(one: Comparison, reasons: Sequence[str]) -> list[str]:
    """Return one line of the table; a reason is named by its number."""
    mark = f" ({reasons.index(one.obstacle) + 1})" if one.obstacle else ""
    return [
        one.cell,
        one.measure.replace("_", " "),
        mean_and_deviation(list(one.ours.values()), one.digits),
        str(len(one.ours)),
        "" if one.paper is None else f"{one.paper:.{one.digits}f}",
        "" if one.difference is None else f"{one.difference:+.{one.digits}f}",
        one.verdict + mark,
    ]


def footnotes(found: Sequence[Comparison]) -> list[str]:
    """Return the numbered reasons, the recipes' notes, a given model, and the verdict's rule."""
    reasons = [f"({number}) {why}" for number, why in enumerate(distinct_obstacles(found), 1)]
    names = dict.fromkeys(one.recipe for one in found)
    notes = dict.fromkeys(note for name in names for note in read_recipe(name).notes)
    compared = [one for one in found if one.verdict in STYLES]
    given = dict.fromkeys(
        f"model.path={one.model_path}: the verdicts hold only for a copy of the published "
        f"{read_recipe(one.recipe).model}"
        for one in compared
        if one.model_path is not None
    )
    return [*reasons, *notes, *given, *([RULE] if compared else [])]


def result_tables(found: Sequence[Comparison]) -> list[Table]:
    """Lay out a comparison for the terminal: a table per measure, a section per recipe."""
    reasons, shared = distinct_obstacles(found), commonpath([one.recipe for one in found])
    rows: dict[str, list[Sequence[str]]] = {}
    for _, group in groupby(found, key=lambda one: one.recipe):
        for earlier in rows.values():
            earlier.append([])
        for one in group:
            name, measure, *cells = cells_of(one, reasons)
            name, style = name.removeprefix(f"{shared}/"), STYLES.get(one.verdict, "")
            rows.setdefault(measure, []).append(styled(style, name, *cells))
    columns = [name for name in COLUMNS if name != "measure"]
    return [
        Table(columns, lines, ": ".join(filter(None, (shared, measure))), "fRRRRw")
        for measure, lines in rows.items()
    ]


def as_markdown(target: str, found: Sequence[Comparison]) -> str:
    """Lay out a comparison for a document."""
    reasons = distinct_obstacles(found)
    body = Table(COLUMNS, [cells_of(one, reasons) for one in found]).markdown()
    notes = "".join(f"- {note}\n" for note in footnotes(found))
    return f"# {target}: ours against the paper's\n\n{body}\n\n{notes}\n![](result.png)\n"


def as_plain(target: str, found: Sequence[Comparison]) -> dict[str, Any]:
    """Return a comparison as JSON holds it."""
    derived = ("mean", "deviation", "difference", "verdict")
    rows = [asdict(one) | {name: getattr(one, name) for name in derived} for one in found]
    return {"target": target, "rule": RULE, "results": rows}


@style()
def plot(found: Sequence[Comparison], path: Path) -> None:
    """Draw ours beside the paper's, a panel for each measure of a recipe."""
    from matplotlib.figure import Figure

    panels: dict[str, list[Comparison]] = defaultdict(list)
    for one in found:
        panels[f"{one.recipe}, {one.measure.replace('_', ' ')}"].append(one)
    columns = min(MOST_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    height = LINE_HEIGHT * max(map(len, panels.values())) + PANEL_MARGIN
    figure = Figure(figsize=(max(columns, 1.4) * PANEL_WIDTH, lines * height + 0.4))
    for place, (title, group) in enumerate(panels.items(), start=1):
        draw_panel(figure.add_subplot(lines, columns, place), title, group)
    legend(figure, *figure.axes)
    save(figure, path)


def draw_panel(axes: Axes, title: str, group: Sequence[Comparison]) -> None:
    """Draw one line per method, the first on top."""
    for place, one in enumerate(group):
        seeds = list(one.ours.values())
        axes.plot(seeds, [place] * len(seeds), "|", color=OURS, label="our seeds")
        bar = {"xerr": one.deviation, "fmt": "o"}
        axes.errorbar(one.mean, place, color=OURS, label="ours, mean ± deviation", **bar)
        if one.paper is not None:
            axes.plot(one.paper, place, "D", color=PAPER, mfc="none", label="the paper's")
    axes.set_yticks(range(len(group)), [one.method for one in group])
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_title(title)
    axes.grid(visible=False, axis="y")

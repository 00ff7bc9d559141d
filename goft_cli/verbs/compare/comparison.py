"""Finish the runs of a comparison, write its tables, and draw its figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.config import Budget, CompareConfig
from goft_cli.config.model import real_name
from goft_cli.run.record import RunRecord
from goft_cli.run.summary import screen
from goft_cli.studies.leaderboard import pareto_front
from goft_cli.system.digests import digest_of, is_made, note_made, program
from goft_cli.system.figures import SECOND_INK, look_of, save, style
from goft_cli.system.files import write_text
from goft_cli.system.imports import importing
from goft_cli.verbs.compare import table
from goft_cli.verbs.compare.runs import PlannedRun, compose_runs, finish, is_done
from goft_cli.verbs.compare.table import Caption, Summary, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from goft_cli.verbs.plan.layers import Size

FORMATS = ("png", "svg", "pdf")
MAX_IN_LINE = 8
"""Entries of the legend."""
EDGE = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
POINT: dict[str, Any] = {**EDGE, "elinewidth": 1.2, "capsize": 2.5, "linestyle": ""}
DASHED = {"color": SECOND_INK, "linewidth": 1, "linestyle": (0, (4, 2))}
FRONT: dict[str, Any] = {**DASHED, "drawstyle": "steps-post", "zorder": 1}


def write_comparison(cfg: CompareConfig, words: Sequence[str]) -> None:
    """Finish every run and write the comparison; `words` are those of all runs."""
    seeds = cfg.seed_list()
    runs = {name: compose_runs(words, name, seeds) for name in cfg.adapters}
    budget = "Budget: each adapter's own, by its recipe."
    if cfg.budget is Budget.matched:
        # only now: finished runs are compared without the libraries
        with importing(packed=cfg.model.quantization is not None):
            from goft_cli.system.screen import quiet_libraries
            from goft_cli.verbs.plan.layers import matched_sizes

        with quiet_libraries():
            sizes = matched_sizes([run.cfg for run, *_ in runs.values()], cfg.baseline)
        budget = budget_note(sizes, cfg.baseline)
        runs |= {
            name: compose_runs([*words, *size.words], name, seeds)
            for name, size in sizes.items()
            if size.words
        }
    finish_all(runs)
    caption = Caption(cfg.task.name, real_name(cfg.model), cfg.task.headline, cfg.baseline, budget)
    records = {name: [RunRecord.of(run.cfg) for run in planned] for name, planned in runs.items()}
    write(summarize(records, cfg.baseline), caption, Path(cfg.output_dir))


def budget_note(sizes: Mapping[str, Size], reference: str) -> str:
    """Say what the budget is and how near each adapter comes to it."""
    budget = sizes[reference].parameters
    shares = ", ".join(
        f"{name} {size.parameters / budget:.2f}"
        for name, size in sizes.items()
        if name != reference
    )
    return f"Budget: {reference}'s {budget:,} parameters; of it others spend {shares}."


def finish_all(runs: Mapping[str, Sequence[PlannedRun]]) -> None:
    """Train what is missing, adapter by adapter within a seed, and print the command of each."""
    by_seed = [run for together in zip(*runs.values(), strict=True) for run in together]
    missing = [run for run in by_seed if not is_done(run)]
    screen.print(f"{len(by_seed)} runs, {len(by_seed) - len(missing)} of them finished already")
    for number, run in enumerate(missing, start=1):
        screen.print(f"{number} of {len(missing)}: {run.command}", highlight=False, soft_wrap=True)
        finish(run)


def write(rows: Sequence[Summary], caption: Caption, folder: Path) -> None:
    """Show the table and write it beside its numbers, and beside the figure where that is old."""
    write_text(folder / "comparison.md", table.markdown(rows, caption))
    write_text(folder / "comparison.csv", table.summary_csv(rows))
    write_text(folder / "runs.csv", table.runs_csv(rows))
    made_from = digest_of([numbers(rows), asdict(caption), program("matplotlib")])
    if not is_made(folder, made_from):
        draw(rows, caption, folder)
        note_made(folder, made_from, [f"comparison.{suffix}" for suffix in FORMATS])
    screen.print(table.for_screen(rows, caption))
    for note in table.notes(rows, caption):
        screen.print(note, style="dim", highlight=False)
    screen.print(f"tables and figure: {folder}", soft_wrap=True)


def numbers(rows: Sequence[Summary]) -> list[object]:
    """Return all that a figure shows of the rows."""
    return [
        [row.adapter, row.parameters, row.seconds, [(run.score, run.merit) for run in row.results]]
        for row in rows
    ]


@style()
def draw(rows: Sequence[Summary], caption: Caption, folder: Path) -> None:
    """Write `comparison.png` and its like, one point per row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4))
    left, right = figure.subplots(1, 2, sharey=True)
    panel(left, rows, [row.parameters for row in rows], "adapter parameters")
    panel(right, rows, [row.seconds for row in rows], "training time, seconds")
    log_axis(left, [row.parameters for row in rows])
    left.set_ylabel(caption.headline.replace("_", " "))
    seeds = len(rows[0].results)
    shown = f"mean and standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"{caption.task}, {caption.model} ({shown})", fontsize="medium")
    handles, labels = left.get_legend_handles_labels()
    ncols = min(len(labels), MAX_IN_LINE)
    place = {"loc": "outside lower center", "ncols": ncols, "columnspacing": 1.2}
    figure.legend(handles, labels, handletextpad=0.3, **place)
    for suffix in FORMATS:
        save(figure, folder / f"comparison.{suffix}", dpi=200)


def panel(axes: Axes, rows: Sequence[Summary], costs: Sequence[float], label: str) -> None:
    """Draw one point per adapter with its spread, and the front below them."""
    merits = [statistics.mean(result.merit for result in row.results) for row in rows]
    front = pareto_front(costs, merits)
    for row, cost in zip(rows, costs, strict=True):
        colour, marker = look_of(row.adapter)
        shown = {"color": colour, "marker": marker, "label": row.adapter}
        axes.errorbar(cost, row.mean, yerr=row.deviation, **shown, **POINT)
    ends = [(costs[index], rows[index].mean) for index in front]
    axes.plot(*zip(*ends, strict=True), label="Pareto front", **FRONT)
    axes.set_xlabel(label)


def log_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Scale by powers of ten, with a place for an adapter without parameters."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    positive = [count for count in counts if count]
    if not positive:
        return
    smallest = 10 ** math.floor(math.log10(min(positive)))
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    largest = 10 ** math.ceil(math.log10(max(positive)))
    decades = [smallest * 10**power for power in range(round(math.log10(largest / smallest)) + 1)]
    axes.set_xticks([0, *decades] if 0 in counts else decades)
    axes.set_xlim(-0.2 * smallest if 0 in counts else 0.8 * min(positive), 1.3 * max(positive))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def short(count: float) -> str:
    """Write a number of parameters such as 0, 500, 8k, 1M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"

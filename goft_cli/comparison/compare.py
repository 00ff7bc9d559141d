"""From the words of `goft compare` to runs, and from those to table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from goft_cli.comparison import figure, table
from goft_cli.comparison.runs import PlannedRun, finish, is_done, plan
from goft_cli.comparison.summary import Summary, setting_of, summarize
from goft_cli.comparison.table import Caption
from goft_cli.config import Budget, CompareConfig
from goft_cli.config.model import real_name
from goft_cli.run.record import RunRecord
from goft_cli.run.summary import screen
from goft_cli.studies.budget import Size, matched_sizes
from goft_cli.system.files import write_text
from goft_cli.system.screen import quiet_libraries

Runs = Mapping[str, Sequence[PlannedRun]]
"""By adapter, one per seed."""


def compare(cfg: CompareConfig, words: Sequence[str]) -> list[Summary]:
    """Finish every run and write the comparison.

    Args:
        cfg: which adapters and seeds, and what their budget is.
        words: of all runs.
    """
    first, *others = cfg.seed_list()
    alone = {name: plan(words, name, first) for name in cfg.adapters}
    budget, extra = "Budget: each adapter's own, by its recipe.", dict.fromkeys(alone, ())
    if cfg.budget is Budget.matched:
        with quiet_libraries():
            sizes = matched_sizes([run.cfg for run in alone.values()], cfg.baseline)
        budget, extra = describe(sizes, cfg.baseline), {k: s.words for k, s in sizes.items()}
    runs = {
        name: [plan([*words, *extra[name]], name, seed) for seed in (first, *others)]
        for name in alone
    }
    finish_all(runs)
    caption = Caption(cfg.task.name, real_name(cfg.model), cfg.task.headline, cfg.baseline, budget)
    rows = summarize(
        {name: [RunRecord.of(run.cfg) for run in planned] for name, planned in runs.items()},
        {name: setting_of(planned[0].cfg.adapter) for name, planned in runs.items()},
        cfg.baseline,
        greater_is_better=cfg.task.greater_is_better,
    )
    write(rows, caption, Path(cfg.output_dir))
    return rows


def describe(sizes: Mapping[str, Size], reference: str) -> str:
    """Say what the budget is and how near each adapter comes to it."""
    budget = sizes[reference].parameters
    shares = ", ".join(
        f"{name} {size.parameters / budget:.2f}"
        for name, size in sizes.items()
        if name != reference
    )
    return f"Budget: {reference}'s {budget:,} parameters; of it others spend {shares}."


def finish_all(runs: Runs) -> None:
    """Train what is missing, adapter by adapter within a seed, and say which one is in turn."""
    by_seed = [run for together in zip(*runs.values(), strict=True) for run in together]
    missing = [run for run in by_seed if not is_done(run)]
    screen.print(f"{len(by_seed)} runs, {len(by_seed) - len(missing)} of them finished already")
    for number, run in enumerate(missing, start=1):
        screen.print(f"{number} of {len(missing)}: {run.command}", highlight=False, soft_wrap=True)
        finish(run)


def write(rows: Sequence[Summary], caption: Caption, folder: Path) -> None:
    """Show the table and write it beside its numbers and the figure."""
    write_text(folder / "comparison.md", table.markdown(rows, caption))
    write_text(folder / "comparison.csv", table.summary_csv(rows))
    write_text(folder / "runs.csv", table.runs_csv(rows))
    figure.draw(rows, caption, folder)
    screen.print(table.for_screen(rows, caption))
    for note in table.notes(rows, caption):
        screen.print(note, style="dim", highlight=False)
    screen.print(f"tables and figure: {folder}", soft_wrap=True)

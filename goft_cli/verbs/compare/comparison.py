"""Finish the runs of a comparison, and write its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.compose.recomposition import separate_hydra
from goft_cli.compose.references import retain_spec
from goft_cli.config import Budget, CompareConfig
from goft_cli.config.model import real_name
from goft_cli.run.summary import screen
from goft_cli.system.digests import digest_of, is_made, note_made, program
from goft_cli.system.files import write_json, write_text
from goft_cli.system.imports import importing
from goft_cli.verbs.compare import dry_run, forgetting, table, tuning
from goft_cli.verbs.compare.figures import FORMATS, draw, draw_tuning
from goft_cli.verbs.compare.runs import PlannedRun, Runs, check_folders, compose_runs, finish_all
from goft_cli.verbs.compare.table import Caption, Summary, summarize
from goft_cli.verbs.compare.tuning import Search

if TYPE_CHECKING:
    from goft_cli.verbs.plan.layers import Size


def write_comparison(cfg: CompareConfig, words: Sequence[str]) -> None:
    """Finish every run and write the comparison; `words` are the overrides of all runs."""
    with separate_hydra():  # the tasks to measure on are checked before anything trains
        wanted = None if cfg.retain is None else retain_spec(cfg.retain, cfg.task)
    words_of: dict[str, Sequence[str]] = dict.fromkeys(cfg.adapters, words)
    runs = compose_all(cfg, words_of)
    check_folders(runs)
    budget = "Budget: each adapter's own, by its recipe."
    if cfg.budget is Budget.matched:
        # only now: finished runs are compared without the libraries
        with importing(packed=cfg.model.quantization is not None):
            from goft_cli.system.screen import quiet_libraries
            from goft_cli.verbs.plan.layers import matched_sizes

        with quiet_libraries():
            cfgs = {name: run.cfg for name, (run, *_) in runs.items()}
            sizes = matched_sizes(cfgs, cfg.baseline)
        budget = budget_note(sizes, cfg.baseline)
        sized = {name: [*words, *size.words] for name, size in sizes.items() if size.words}
        words_of |= sized
        runs |= compose_all(cfg, sized)
    search = search_of(cfg, words_of, runs) if cfg.tune else None
    if cfg.dry_run:
        dry_run.show(cfg, search, runs)
        return
    if search:
        while trials := search.next_runs():
            finish_all(trials, trials=True)
        runs = compose_all(cfg, search.final_words())
    finish_all(runs)
    caption = Caption(cfg.task.name, real_name(cfg.model), cfg.task.headline, cfg.baseline, budget)
    records = {name: [run.record for run in planned] for name, planned in runs.items()}
    forgotten = forgetting.measure_all(cfg, runs, wanted) if wanted else {}
    rows = summarize(records, cfg.baseline, search.tuned if search else {}, forgotten)
    more = [*(tuning.notes(search) if search else []), *forgetting.notes(forgotten)]
    write(rows, caption, [*table.notes(rows, caption), *more], Path(cfg.output_dir))


def compose_all(
    cfg: CompareConfig, words: Mapping[str, Sequence[str]]
) -> dict[str, list[PlannedRun]]:
    """Compose the runs of each adapter, a seed each."""
    return {name: compose_runs(one, name, cfg.seed_list()) for name, one in words.items()}


def search_of(cfg: CompareConfig, words: Mapping[str, Sequence[str]], runs: Runs) -> Search:
    """Return the search for the learning rates of these runs, before its first trial."""
    recipes = {name: run.cfg.trainer.learning_rate for name, (run, *_) in runs.items()}
    return Search(cfg, words, recipes)


def budget_note(sizes: Mapping[str, Size], reference: str) -> str:
    """Return a sentence on the budget and each adapter's share of it."""
    budget = sizes[reference].parameters
    shares = ", ".join(
        f"{name} {size.parameters / budget:.2f}"
        for name, size in sizes.items()
        if name != reference
    )
    return f"Budget: {reference}'s {budget:,} parameters; the others' shares of it: {shares}."


def write(rows: Sequence[Summary], caption: Caption, said: Sequence[str], folder: Path) -> None:
    """Show and write the table and its numbers, and redraw figures that are older."""
    tuned = {row.adapter: row.tuned for row in rows if row.tuned}
    write_text(folder / "comparison.md", table.markdown(rows, caption, said))
    write_text(folder / "comparison.csv", table.summary_csv(rows))
    write_text(folder / "runs.csv", table.runs_csv(rows))
    write_json(folder / "comparison.json", table.content(rows, caption, said))
    if tuned:
        write_text(folder / "tuning.csv", tuning.spreadsheet(tuned).csv())
    made_from = digest_of([table.content(rows, caption, []), program("matplotlib")])
    if not is_made(folder, made_from):
        draw(rows, caption, folder)
        names = [f"comparison.{suffix}" for suffix in FORMATS]
        if tuned:
            draw_tuning(tuned, caption, folder / "tuning.png")
            names.append("tuning.png")
        note_made(folder, made_from, names)
    screen.print(table.for_screen(rows, caption))
    for note in said:
        screen.print(note, style="dim", highlight=False)
    screen.print(f"tables and figure: {folder}", soft_wrap=True)

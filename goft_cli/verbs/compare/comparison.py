"""Finish the runs of a comparison, and write its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.config import Budget, CompareConfig
from goft_cli.config.model import real_name
from goft_cli.run.summary import screen
from goft_cli.system.digests import digest_of, is_made, note_made, program
from goft_cli.system.files import write_json, write_text
from goft_cli.system.imports import importing
from goft_cli.verbs.compare import dry_run, table, tuning
from goft_cli.verbs.compare.figures import FORMATS, draw, draw_tuning
from goft_cli.verbs.compare.runs import PlannedRun, compose_runs, finish_all
from goft_cli.verbs.compare.table import Caption, Summary, summarize
from goft_cli.verbs.compare.tuning import Search

if TYPE_CHECKING:
    from goft_cli.verbs.plan.layers import Size

Runs = Mapping[str, Sequence[PlannedRun]]


def write_comparison(cfg: CompareConfig, words: Sequence[str]) -> None:
    """Finish every run and write the comparison; `words` are those of all runs."""
    words_of: dict[str, Sequence[str]] = dict.fromkeys(cfg.adapters, words)
    runs = compose_all(cfg, words_of)
    budget = "Budget: each adapter's own, by its recipe."
    if cfg.budget is Budget.matched:
        # only now: finished runs are compared without the libraries
        with importing(packed=cfg.model.quantization is not None):
            from goft_cli.system.screen import quiet_libraries
            from goft_cli.verbs.plan.layers import matched_sizes

        with quiet_libraries():
            sizes = matched_sizes([run.cfg for run, *_ in runs.values()], cfg.baseline)
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
    write(summarize(records, cfg.baseline), caption, Path(cfg.output_dir), search)


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
    """Say what the budget is and how near each adapter comes to it."""
    budget = sizes[reference].parameters
    shares = ", ".join(
        f"{name} {size.parameters / budget:.2f}"
        for name, size in sizes.items()
        if name != reference
    )
    return f"Budget: {reference}'s {budget:,} parameters; of it others spend {shares}."


def write(
    rows: Sequence[Summary], caption: Caption, folder: Path, search: Search | None = None
) -> None:
    """Show the table and write it beside its numbers, and beside the figures where those are old.

    The order of `rows` is that of the adapters of `search`.
    """
    tuned = search.tuned if search else {}
    said = [*table.notes(rows, caption), *(tuning.notes(search) if search else [])]
    write_text(folder / "comparison.md", table.markdown(rows, caption, tuned, said))
    write_text(folder / "comparison.csv", table.summary_csv(rows, tuned))
    write_text(folder / "runs.csv", table.runs_csv(rows))
    if search:
        write_text(folder / "tuning.csv", table.tuning_csv(tuned))
    write_json(folder / "comparison.json", table.content(rows, caption, tuned, said))
    drawn = [numbers(rows), asdict(caption), program("matplotlib")]
    made_from = digest_of([*drawn, [[name, one.scores] for name, one in tuned.items()]])
    if not is_made(folder, made_from):
        draw(rows, caption, folder)
        names = [f"comparison.{suffix}" for suffix in FORMATS]
        if search:
            draw_tuning(tuned, search.split, caption, folder / "tuning.png")
            names.append("tuning.png")
        note_made(folder, made_from, names)
    screen.print(table.for_screen(rows, caption, tuned))
    for note in said:
        screen.print(note, style="dim", highlight=False)
    screen.print(f"tables and figure: {folder}", soft_wrap=True)


def numbers(rows: Sequence[Summary]) -> list[object]:
    """Return all that a figure shows of the rows."""
    return [
        [row.adapter, row.parameters, row.seconds, [(run.score, run.merit) for run in row.results]]
        for row in rows
    ]

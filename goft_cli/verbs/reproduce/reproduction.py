"""Run the cells that a user asked for, and write the comparison with the paper."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from goft_cli.compose.recomposition import compose_train
from goft_cli.run.record import RunRecord
from goft_cli.run.summary import screen
from goft_cli.studies.recipes import Cell, select
from goft_cli.system.errors import GoftError, RankError
from goft_cli.system.files import write_json, write_text
from goft_cli.verbs.reproduce import rehearsal
from goft_cli.verbs.reproduce.comparison import (
    Comparison,
    as_markdown,
    as_plain,
    compare_with_paper,
    footnotes,
    plot,
    result_tables,
)
from goft_cli.verbs.train import finish_run

ROOT = Path("outputs/reproduce")
REHEARSED_SEEDS = 2
"""The fewest seeds with a standard deviation."""


@dataclass(frozen=True)
class Request:
    """What a user asked for.

    Attributes:
        target: a cell, a recipe, a folder or a pattern.
        words: overrides of `goft train` besides the recipes'.
        seeds: replace the recipes' seeds; empty for the recipes'.
        rehearsal: whether model and data are stand-ins.
    """

    target: str
    words: Sequence[str] = ()
    seeds: Sequence[int] = ()
    rehearsal: bool = False

    @property
    def folder(self) -> Path:
        """Where the comparison is written."""
        return (rehearsal.ROOT if self.rehearsal else ROOT) / self.target.replace("*", "all")

    def seeds_of(self, cell: Cell) -> Sequence[int]:
        """Return the seeds to run."""
        own = cell.recipe.seeds
        return self.seeds or (own[:REHEARSED_SEEDS] if self.rehearsal else own)


def reproduce(request: Request) -> Path:
    """Run or reuse every run of a target, show the comparison, and return its folder.

    Raises:
        RankError: a run failed; the comparison of the earlier cells is kept.
    """
    found: list[Comparison] = []
    for cell in select(request.target):
        seeds = request.seeds_of(cell)
        how = "rehearsal of " if request.rehearsal else ""
        command = cell.command(seeds, request.words)
        screen.print(f"{how}{cell.name}: {command}", style="dim", markup=False, soft_wrap=True)
        runs = [run_cell(cell, seed, request) for seed in seeds]
        found += compare_with_paper(cell, runs, request.words, rehearsal=request.rehearsal)
        write_results(request, found)
    for table in result_tables(found):
        screen.print(table)
    for note in footnotes(found):
        screen.print(note, style="dim", markup=False)
    screen.print(f"table, numbers and plot: {request.folder}/result.*", soft_wrap=True)
    return request.folder


def run_cell(cell: Cell, seed: int, request: Request) -> RunRecord:
    """Train one seed of a cell, or find it done.

    Raises:
        GoftError, RankError: says of which cell and seed.
    """
    words = [*cell.words(seed), *request.words]
    try:
        with ExitStack() as stack:
            if request.rehearsal:
                cfg = compose_train([*words, *rehearsal.rehearsal_words(cell, seed)])
                cfg = stack.enter_context(rehearsal.stand_ins(cfg))
            else:
                cfg = compose_train(words)
            return finish_run(cfg, several=True)
    except GoftError as error:
        raise GoftError(f"{cell.name}, seed {seed}: {error.problem}", error.remedy) from error
    except RankError as error:
        raise RankError(f"{cell.name}, seed {seed}: {error}", error.code) from error


def write_results(request: Request, found: Sequence[Comparison]) -> None:
    """Write the comparison so far as JSON, Markdown and a plot."""
    folder = request.folder
    write_json(folder / "result.json", as_plain(request.target, found))
    write_text(folder / "result.md", as_markdown(request.target, found))
    plot(found, folder / "result.png")

"""Every recipe runs to its result on a tiny model and tiny data."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import TaskConfig
from goft_cli.run.record import RunRecord
from goft_cli.studies.recipes import Cell
from goft_cli.system.errors import GoftError
from goft_cli.verbs.reproduce.comparison import value
from goft_cli.verbs.reproduce.rehearsal import rehearsal_words, stand_ins, write_stand_in
from goft_cli.verbs.train import finish_run
from tests.support.rotated import ROTATED

SEED = 3


def rehearsed(cell: Cell) -> RunRecord:
    with stand_ins(compose_train([*cell.words(SEED), *rehearsal_words(cell, SEED)])) as cfg:
        return finish_run(cfg, several=True)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ROTATED, ids=lambda cell: cell.name)
def test_a_recipe_runs_through(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, recipe = rehearsed(cell), cell.recipe
    assert run.folder.metrics.is_file()
    assert (run.cfg.task.name, run.cfg.model.name) == (recipe.task, recipe.stand_in)
    assert run.metrics["seed"] == SEED
    for measure in recipe.measures.values():
        assert -100 <= value(run, measure) <= 100


def test_a_family_without_stand_in_says_so(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"task mine: .*sounds"):
        write_stand_in(TaskConfig(name="mine", family="sounds"), tmp_path / "data")

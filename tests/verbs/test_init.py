"""`goft init` writes the task that `goft train` composes from the same words."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.compose.recomposition import compose_train
from goft_cli.data.kinds import fitting_task
from tests.conftest import Goft
from tests.support.recipe_cells import CHOICES, own_data

OWN = [task for task in CHOICES["task"] if task.startswith("own/")]


@pytest.mark.parametrize("task", OWN)
def test_the_written_task_is_that_of_the_words(task: str, goft: Goft, tmp_path: Path) -> None:
    place = tmp_path / own_data(task).name
    copy = shutil.copytree if own_data(task).is_dir() else shutil.copyfile
    copy(own_data(task), place)
    answer = goft("init", f"task={task}", f"data={place}", "name=mine", "output_dir=mine")
    assert answer.code == 0, answer.err
    assert "goft train --config-dir mine task=mine" in answer.out
    search = f"hydra.searchpath=[file://{(tmp_path / 'mine').resolve()}]"
    written = compose_train(["task=mine", search]).task
    typed = compose_train([f"task={task}", f"data={place}"]).task
    assert replace(typed, name="mine", recipe=written.recipe) == written


@pytest.mark.parametrize("task", OWN)
def test_the_fitting_task_is_found(task: str) -> None:
    assert fitting_task(str(own_data(task))) == task


def test_data_without_a_task_is_answered_with_one(goft: Goft, tmp_path: Path) -> None:
    shutil.copyfile(own_data("own/qa"), tmp_path / "qa.jsonl")
    answer = goft("train", "data=qa.jsonl")
    assert answer.code == 2
    assert "task=own/qa data=qa.jsonl" in answer.err


def test_a_task_is_not_written_over(goft: Goft, tmp_path: Path) -> None:
    shutil.copyfile(own_data("own/classification"), tmp_path / "r.csv")
    assert goft("init", "data=r.csv").code == 0
    file = tmp_path / "my_configs" / "task" / "r.yaml"
    file.write_text("kept")
    assert goft("init", "data=r.csv").code == 2
    assert file.read_text() == "kept"
    assert goft("init", "data=r.csv", "overwrite=true").code == 0


@pytest.mark.parametrize("words", [[], ["data=nonesuch.csv"], ["data=."], ["task=glue/cola"]])
def test_nothing_is_written_for_no_data(words: list[str], goft: Goft, tmp_path: Path) -> None:
    assert goft("init", *words).code == 2
    assert [*tmp_path.iterdir()] == []


def test_missing_fields_are_named_at_once(goft: Goft, tmp_path: Path) -> None:
    (tmp_path / "mine" / "task").mkdir(parents=True)
    text = "defaults:\n  - /schema/task/text_classification@_here_\n\nname: mine\n"
    (tmp_path / "mine" / "task" / "mine.yaml").write_text(text)
    answer = goft("train", "--config-dir", "mine", "task=mine")
    assert answer.code == 2
    assert {"task.text_columns", "task.metrics"} <= {*answer.err.replace(",", " ").split()}

"""`goft init` writes the task that `goft train` composes from the same words."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.compose.composition import freeze
from goft_cli.compose.flags import as_overrides
from goft_cli.compose.recomposition import compose_train
from goft_cli.compose.suggest import CommandLine, mistyped
from goft_cli.compose.words import spelled
from goft_cli.config import TrainConfig
from goft_cli.data.kinds import fitting_task
from tests.conftest import Goft
from tests.support import small_runs
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


def composed(printed: str) -> TrainConfig:
    """Compose the command that `goft init` printed last."""
    words = shlex.split(printed.splitlines()[-1].partition("goft train ")[2])
    line = CommandLine("train", tuple(as_overrides("train", words)))
    assert mistyped(line) is None
    return freeze(line.compose(line.overrides), TrainConfig)


@pytest.mark.parametrize(
    "name", ["reviews (1)", "_under", "2024", "1e3", "null", "vicuna", "a,b", "été", "[x]", "__"]
)
def test_the_printed_command_finds_any_file(name: str, goft: Goft, tmp_path: Path) -> None:
    file = shutil.copyfile(own_data("own/classification"), tmp_path / f"{name}.csv")
    answer = goft("init", f"data={spelled(file.name)}")
    assert answer.code == 0, answer.err
    assert composed(answer.out).task.data_dir == str(file)


@pytest.mark.parametrize("model", ["auto", "tiny-deberta-v3"])
def test_the_printed_command_has_the_words_that_the_file_has_not(
    model: str, goft: Goft, tmp_path: Path
) -> None:
    shutil.copyfile(own_data("own/classification"), tmp_path / "r.csv")
    small_runs.write_model(tmp_path / "my-bert")
    words = [f"model={model}", "model.path=./my-bert", "adapter=lora", "trainer.num_train_epochs=5"]
    answer = goft("init", "data=r.csv", *words)
    assert answer.code == 0, answer.err
    found, typed = composed(answer.out), compose_train(words)
    assert (found.model, found.adapter) == (typed.model, typed.adapter)
    assert found.trainer.num_train_epochs == 5


def test_the_task_is_written_beside_the_users_own_model(goft: Goft, tmp_path: Path) -> None:
    shutil.copyfile(own_data("own/classification"), tmp_path / "r.csv")
    model = tmp_path / "mine" / "model" / "mine.yaml"
    model.parent.mkdir(parents=True)
    model.write_text("defaults:\n  - /model/tiny-deberta-v3@_here_\nname: mine\n")
    words = ["--config-dir", "mine", "data=r.csv", "model=mine"]
    assert goft("init", *words, "output_dir=elsewhere").code == 2
    assert not (tmp_path / "elsewhere").exists()
    answer = goft("init", *words)
    assert answer.code == 0, answer.err
    assert composed(answer.out).model.name == "mine"


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

"""Shell lines of the documents that need a certain kind of run work on a short run of it."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from goft_cli.compose.recomposition import compose_train
from goft_cli.run import pipeline, summary
from goft_cli.system import figures
from goft_cli.verbs.reproduce.rehearsal import write_stand_in
from tests.conftest import Goft
from tests.support import lm_eval_stand_in
from tests.support.documents import OF_LM_EVAL, OF_SOME_RUN
from tests.support.small_runs import composed

pytestmark = pytest.mark.slow
PICTURES = "input=pictures"
OF_TALK = [line for line in OF_SOME_RUN if "goft chat " in line or "input=prompts.txt" in line]
REWOUND = [line for line in OF_SOME_RUN if line.startswith("goft rewind ")]
OF_PICTURES = [line for line in OF_SOME_RUN if PICTURES in line]
SCORED = [line for line in OF_SOME_RUN if OF_LM_EVAL in line]
CONTINUED = [line for line in OF_SOME_RUN if "init_adapter=" in line]
SHORT = ["trainer.max_steps=1", "trainer.use_cpu=true"]
FEW = ["task.max_train_samples=16", "task.max_eval_samples=8"]


def test_no_line_is_left() -> None:
    assert {*OF_TALK, *REWOUND, *OF_PICTURES, *SCORED, *CONTINUED} == OF_SOME_RUN


@cache
def run_of(task: str, model: str, place: Path) -> Path:
    """Train one update of a task and return the run's folder."""
    words = [f"task={task}", f"model={model}", f"output_dir={place}"]
    return pipeline.run(composed([*words, *SHORT, *FEW]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def words_of(line: str, run: Path) -> list[str]:
    """Return the words after the program's name, with `$RUN` replaced."""
    return [word.replace("$RUN", str(run)) for word in shlex.split(line)[1:]]


@pytest.mark.parametrize("line", sorted(OF_TALK))
def test_a_language_model_answers(
    line: str, goft: Goft, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("Name a bird.\nWhy?\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("Name a bird.\n/reset\nWhy?\n"))
    answer = goft(*words_of(line, run_of("demo/talk", "tiny-llama", place / "talk")))
    assert answer.code == 0, answer.err
    assert answer.out


@pytest.mark.parametrize("line", OF_PICTURES)
def test_pictures_are_labelled(line: str, goft: Goft, place: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "one.png")
    answer = goft(*words_of(line, run_of("demo/digits", "tiny-vit", place / "digits")))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("line", sorted(REWOUND))
def test_a_run_is_rewound(
    line: str, goft: Goft, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "save", lambda *_, **__: None)  # slow, tested elsewhere
    run = shutil.copytree(trained, tmp_path / "run")
    answer = goft(*words_of(line, run))
    assert answer.code == 0, answer.err
    assert list(tmp_path.glob("*/rewind.md"))


@pytest.mark.parametrize("line", sorted(SCORED))
def test_tasks_of_lm_eval_are_scored(
    line: str, goft: Goft, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = lm_eval_stand_in.install(monkeypatch)
    (tmp_path / "my_task.yaml").write_text("task: my_task\n", encoding="utf-8")
    words = words_of(line, run_of("demo/talk", "tiny-llama", place / "talk"))
    words = [re.sub("^model=.*", "model=tiny-llama", word) for word in words]
    if words[0] == "train":
        write_stand_in(compose_train(words[1:]).task, tmp_path / "data")
        words += ["task.data_dir=data", *SHORT]
    answer = goft(*words)
    assert answer.code == 0, answer.err
    names = [task.task_name for call in calls for task in call["tasks"]]
    (given,) = (word.partition("=")[2] for word in words if word.startswith("tasks="))
    assert names == [Path(name).stem for name in given.strip("[]").split(",")]
    assert all(f"{name} acc".replace("_", " ") in answer.out.replace("_", " ") for name in names)


@pytest.mark.parametrize("line", CONTINUED)
def test_a_second_stage_starts(line: str, goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "plot_curves", lambda *_: None)
    first = re.sub(r" init_adapter=.*", " run_name=first", line)
    assert goft(*words_of(first, Path()), *SHORT, *FEW).code == 0
    answer = goft(*words_of(line, Path()), *SHORT)
    assert answer.code == 0, answer.err

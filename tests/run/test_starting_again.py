"""Commands that need only the recorded results of a run import no training library."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.hydra import Hydra

from goft_cli.run import pipeline
from goft_cli.system.errors import GoftError
from goft_cli.system.imports import importing
from goft_cli.verbs import train as verb
from tests.conftest import Answer, Goft
from tests.support import small_runs
from tests.support.small_runs import Ground, copied

LIBRARIES = ("torch", "transformers", "peft", "datasets", "accelerate", "sklearn", "pandas")
ANSWER = f"""
import sys
from goft_cli.cli import main
code = main(sys.argv[1:])
there = [name for name in {LIBRARIES!r} if name in sys.modules]
assert not there, there
sys.exit(code)
"""


@pytest.fixture
def ground(trained: Path, tmp_path: Path) -> Ground:
    return copied(trained, tmp_path / "ground")


def words(ground: Ground, *more: str) -> list[str]:
    places = (ground.root / "model", ground.root / "data", ground.run.path)
    return [*small_runs.overrides(*places, *small_runs.TRAINED), "run_name=test", *more]


def without_libraries(goft_process: Goft, *words: str) -> Answer:
    answer = goft_process(*words, code=ANSWER)
    assert "AssertionError" not in answer.err, answer.err
    return answer


def test_a_finished_run_is_shown_as_by_the_pipeline(
    ground: Ground, goft_process: Goft, capfd: pytest.CaptureFixture[str]
) -> None:
    (ground.root / "data" / "dev.tsv").unlink()  # the output names it
    answer = without_libraries(goft_process, "train", *words(ground))
    assert (answer.code, answer.err) == (0, "")
    pipeline.run(ground.cfg())
    expected = capfd.readouterr().out
    assert "dev.tsv" in expected
    assert answer.out.split() == expected.split()


def forget(name: str) -> Callable[[Ground], None]:
    return lambda ground: (ground.run.path / name).unlink()


def interrupt(ground: Ground) -> None:
    """Make the run an interrupted one, with a checkpoint and no results."""
    ground.run.metrics.unlink()
    shutil.rmtree(ground.run.adapter)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (forget("metrics.json"), ""),
        (forget("config.yaml"), ""),
        (interrupt, ""),
        (lambda _: None, "overwrite=true"),
        (lambda _: None, "seed=7"),
        (lambda _: None, "trainer.learning_rate=0.03"),
    ],
)
def test_what_is_not_exactly_this_run_finished_goes_through_the_pipeline(
    change: Callable[[Ground], None], word: str, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[object] = []
    monkeypatch.setattr(verb, "run_here", reached.append)
    verb.train(ground.cfg())
    assert reached == []
    change(ground)
    verb.train(ground.cfg(*filter(None, [word])))
    assert len(reached) == 1


def test_a_process_of_a_launcher_joins_the_others_before_it_looks(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[object] = []
    monkeypatch.setattr(verb, "run_here", reached.append)
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    verb.train(ground.cfg())
    assert len(reached) == 1


def test_a_finished_run_on_changed_data_is_refused(ground: Ground, goft_process: Goft) -> None:
    data = ground.root / "data" / "train.tsv"
    data.write_text(data.read_text() + "the cat sings .\t1\n")
    answer = without_libraries(goft_process, "train", *words(ground))
    assert (answer.code, answer.out) == (2, "")
    assert "train.tsv has changed" in answer.err


def test_a_plan_refuses_a_model_that_is_nowhere(ground: Ground, goft_process: Goft) -> None:
    answer = without_libraries(goft_process, "plan", *words(ground, "model.path=nobody/nothing"))
    assert (answer.code, answer.out) == (2, "")
    assert "nobody/nothing" in answer.err
    assert "model.path=DIR" in answer.err


@pytest.mark.slow
def test_a_report_is_made_once_and_again_from_anything_else(
    ground: Ground, goft: Goft, goft_process: Goft
) -> None:
    run, page = ground.run.path, ground.run.path / "report" / "report.html"
    first = without_libraries(goft_process, "report", f"runs={run}")
    assert first.code == 0, first.err
    html, figure = page.read_bytes(), page.with_name("loss.png")
    written = page.stat().st_mtime_ns
    again = without_libraries(goft_process, "report", f"runs={run}")
    assert (again.code, again.out.split()) == (0, first.out.split())
    assert page.stat().st_mtime_ns == written
    figure.unlink()
    assert goft("report", f"runs={run}").code == 0
    assert figure.is_file()
    (run / "layers.safetensors").unlink()  # as in an earlier version: layers are measured
    page.write_text("another page")
    assert goft("report", f"runs={run}").code == 0
    assert page.read_bytes() == html
    history = ground.run.history
    history.write_text(history.read_text().replace('"loss": ', '"loss": 1'))
    assert goft("report", f"runs={run}").code == 0
    assert page.read_bytes() != html
    (ground.root / "model" / "config.json").write_text("{}")
    assert goft("report", f"runs={run}").code == 2


@pytest.mark.parametrize(
    ("words", "times"),
    [
        ("seed=3", 1),
        ("seed=3 hydra.verbose=false", 2),
        ("seed=3 hydra.mode=RUN", 2),
        ("--run seed=3", 2),
    ],
)
def test_hydra_composes_once_unless_a_word_may_set_its_mode(
    words: str, times: int, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed, seeds, original = [0], [], Hydra.compose_config

    def counting(self: Hydra, **given: Any) -> Any:  # noqa: ANN401 - passed through
        composed[0] += 1
        return original(self, **given)

    monkeypatch.setattr(Hydra, "compose_config", counting)
    monkeypatch.setattr(verb, "train", lambda cfg: seeds.append(cfg.seed))
    assert goft("train", *words.split()).code == 0
    assert (composed, seeds) == ([times], [3])


@pytest.mark.parametrize("packed", [False, True])
def test_collector_and_compiler_are_back_after_an_import(packed: bool) -> None:
    compile_, before = torch.compile, gc.get_freeze_count()
    with importing(packed=packed):
        assert not gc.isenabled()
        assert (torch.compile is compile_) is packed
        assert packed or torch.compile(abs) is torch.compile(dynamic=True)(abs) is abs
    assert gc.isenabled()
    assert torch.compile is compile_
    assert gc.get_freeze_count() > before
    gc.unfreeze()
    with pytest.raises(GoftError, match="broken"), importing(packed=packed):
        raise GoftError("broken")
    assert gc.isenabled()
    assert torch.compile is compile_

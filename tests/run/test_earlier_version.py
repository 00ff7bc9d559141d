"""Runs of version 0.1.0 work with train, eval, merge, predict, report and compare."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from goft_cli.compose.recomposition import compose_train
from goft_cli.run.folder import is_finished
from goft_cli.run.record import find_runs
from goft_cli.studies import runner
from goft_cli.studies.leaderboard import leaderboard_rows
from tests.conftest import ROOT, Goft
from tests.support.refusals import snapshot

FIXTURES = ROOT / "tests" / "fixtures" / "runs"
NAMES = ("qgoft", "lora")


def command(run: str) -> list[str]:
    """Return the words after `goft train` that made a run, from the table in the README."""
    table = (FIXTURES / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `{run}` \| `goft train (.*)` \|$", table, re.MULTILINE)
    assert found is not None
    return found[1].split()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a folder with copies of the runs and their data, which tests may change."""
    for name in (*NAMES, "cola"):
        shutil.copytree(FIXTURES / name, tmp_path / name)
    return tmp_path


def recorded(run: Path) -> dict[str, dict[str, float]]:
    return json.loads((run / "metrics.json").read_text())["metrics"]


@pytest.mark.parametrize("run", NAMES)
def test_its_own_command_finds_it_finished(run: str, copied: Path, goft: Goft) -> None:
    before = snapshot(copied)
    assert is_finished(compose_train(command(run)))
    assert snapshot(copied) == before


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_its_own_command_shows_its_numbers(run: str, copied: Path, goft: Goft) -> None:
    before = snapshot(copied)
    answer = goft("train", *command(run))
    assert answer.code == 0, answer.err
    headline = json.loads((copied / run / "metrics.json").read_text())["headline"]
    assert f"{headline['value']:.4f}" in answer.out
    assert snapshot(copied) == before


@pytest.mark.slow
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("run", NAMES)
def test_another_configuration_is_refused_in_its_folder(
    run: str, finished: bool, copied: Path, goft: Goft
) -> None:
    if not finished:
        (copied / run / "metrics.json").unlink()
    before = snapshot(copied)
    answer = goft("train", *command(run), "seed=7")
    assert (answer.code, answer.out) == (2, "")
    assert all(word in answer.err for word in (run, "seed is 42", "7"))
    assert snapshot(copied) == before


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_it_scores_as_it_did(run: str, copied: Path, goft: Goft) -> None:
    answer = goft("eval", f"adapter={run}")
    assert answer.code == 0, answer.err
    scores = json.loads((copied / run / "eval.json").read_text())["metrics"]
    for split, values in recorded(copied / run).items():
        assert scores[split] == pytest.approx(values, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_it_merges(run: str, copied: Path, goft: Goft) -> None:
    answer = goft("merge", f"adapter={run}", "samples=8")
    assert answer.code == 0, answer.err
    report = json.loads((copied / run / "merged" / "merge_report.json").read_text())
    assert report["outputs"]["largest"] <= report["outputs"]["tolerance"]
    assert (copied / run / "merged" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_it_predicts(run: str, copied: Path, goft: Goft) -> None:
    answer = goft("predict", f"adapter={run}", "text='the dog runs .'", "max_new_tokens=4")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["prediction"]


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_a_page_is_made_of_it(run: str, copied: Path, goft: Goft) -> None:
    answer = goft("report", f"runs={run}", "output_dir=page")
    assert answer.code == 0, answer.err
    assert run in (copied / "page" / "report.html").read_text(encoding="utf-8")


def of_all_runs(words: Sequence[str]) -> list[str]:
    return [word for word in words if word.split("=")[0] not in {"adapter", "output_dir"}]


@pytest.mark.slow
@pytest.mark.parametrize("run", NAMES)
def test_a_comparison_takes_it_as_it_is(
    run: str, copied: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in of_all_runs(command(run)) if "run_name" not in word]
    place = compose_train([f"adapter={run}", "seed=42", *words]).output_dir
    (copied / run).rename(copied / "moved")
    shutil.copytree(copied / "moved", copied / place)
    monkeypatch.setattr(runner, "isolated", None)  # fails if it is called: no run is left to train
    answer = goft("compare", f"adapters=[{run}]", "seeds=[42]", *words, "output_dir=told")
    assert answer.code == 0, answer.err
    assert (copied / "told" / "comparison.csv").is_file()


def test_a_leaderboard_holds_it(copied: Path) -> None:
    assert {cells[2] for cells in leaderboard_rows(find_runs(copied))} == set(NAMES)

"""Each run of `goft reproduce` has its own process; a run that fails or is killed is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.compose.recomposition import compose_train
from goft_cli.compose.refusals import sentence_and_code
from goft_cli.config import TrainConfig
from goft_cli.studies import runner
from goft_cli.studies.recipes import Cell
from goft_cli.studies.runner import Outcome, Surroundings
from goft_cli.system.errors import CRASH, USAGE_ERROR, GoftError
from goft_cli.system.files import read_json
from goft_cli.verbs import train
from goft_cli.verbs.reproduce.rehearsal import rehearsal_words, stand_ins
from goft_cli.verbs.train import finish_run
from tests.conftest import ROOT, Goft
from tests.support import trainings
from tests.support.trainings import CRASHED, KILLED, REFUSED

CELL = "figure4a/rte/qgoft"
BALLAST = 1_500_000_000
"""Bytes, more than twice the memory of a rehearsal."""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PRELOADED", [])
    monkeypatch.setattr(train, "train_quietly", trainings.train)
    monkeypatch.setattr(
        "goft_cli.run.preflight.check_inputs", lambda cfg: None
    )  # the model is not on this machine


def in_this_process(
    job: Callable[[TrainConfig], None], cfg: TrainConfig, _: Surroundings, *, several: bool
) -> Outcome:
    """Replace `isolated`: run the job in this process, which is faster."""
    assert several
    try:
        job(cfg)
    except (GoftError, ZeroDivisionError) as error:
        sentence, code = sentence_and_code(error, ["train"])
        return Outcome(code, sentence, traceback.format_exc())
    return Outcome()


def pids() -> list[int]:
    """Return the process id of each run below `outputs`."""
    files = sorted(Path("outputs").rglob("manifest.json"))
    return [read_json(file)["environment"]["pid"] for file in files]


@pytest.mark.slow
def test_each_run_of_each_cell_has_its_process(goft: Goft, untrained: None) -> None:
    words = ["reproduce", "figure4a/*/qgoft", "seed=1,2"]
    assert goft(*words).code == 0
    before = pids()
    assert len({*before, os.getpid()}) == 5
    assert goft(*words).code == 0  # all are done
    assert pids() == before


@pytest.mark.slow
def test_a_run_that_is_killed_is_named(goft: Goft, untrained: None) -> None:
    answer = goft("reproduce", CELL, f"seed=1,{KILLED}")
    assert answer.code == CRASH
    for word in (CELL, f"seed {KILLED}", "SIGKILL"):
        assert word in answer.err
    assert len(pids()) == 1


@pytest.mark.parametrize(
    ("seed", "code", "said"),
    [(REFUSED, USAGE_ERROR, "no luck"), (CRASHED, CRASH, "ZeroDivisionError: by nothing")],
)
def test_a_run_that_fails_is_named_and_what_was_compared_is_kept(
    seed: int,
    code: int,
    said: str,
    goft: Goft,
    untrained: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "isolated", in_this_process)
    answer = goft("reproduce", "figure4a/*/qgoft", f"seed={seed}")
    assert answer.code == code
    for word in (CELL, f"seed {seed}", said):
        assert word in answer.err
    assert "Traceback" not in answer.err
    (kept,) = read_json(Path("outputs/reproduce/figure4a/all/qgoft/result.json"))["results"]
    assert kept["cell"] == "figure4a/qnli/qgoft"


def test_the_traceback_is_that_of_the_runs_process(
    goft: Goft, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "isolated", in_this_process)
    answer = goft("reproduce", CELL, f"seed={CRASHED}", "--debug")
    assert 'raise ZeroDivisionError("by nothing")' in answer.err


@pytest.mark.slow
def test_a_run_records_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ballast = b"x" * BALLAST  # memory that an earlier cell may have used here
    del ballast
    cell = Cell("figure4a/rte", "qgoft")
    with stand_ins(compose_train([*cell.words(1), *rehearsal_words(cell, 1)])) as cfg:
        for several in (True, False):
            run = finish_run(replace(cfg, output_dir=f"run-{several}"), several=several)
            assert 0 < run.peak_memory_bytes < BALLAST


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_then_the_command(tmp_path: Path) -> None:
    words = ["reproduce", CELL, "--rehearse", "trainer.max_steps=100000"]
    command = subprocess.Popen(
        [sys.executable, "-m", "goft_cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    run = tmp_path / "outputs/rehearsal" / CELL / "seed1"
    deadline = time.monotonic() + 120
    while not (run / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # under way
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGINT
    assert "SIGINT" in said
    assert list((run / "checkpoints").glob("checkpoint-*"))

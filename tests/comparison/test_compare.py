"""`goft compare`: which runs it makes and reuses, and what it says and writes of them."""

from __future__ import annotations

import csv
import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from goft_cli.comparison import compare, runs
from goft_cli.comparison.runs import PlannedRun
from goft_cli.errors import GoftError
from goft_cli.runs.run_folder import as_plain, write_json, write_text
from goft_cli.signals import Stopped
from tests.conftest import Goft
from tests.small import composed

SCORES = {"goft": 0.5, "lora": 0.25, "qgoft": 0.625, "oft": 0.0}
WORDS = ["compare", "adapters=[goft,lora]", "trainer.max_steps=7", "output_dir=told"]


class Trainings:
    """Stands in for the processes that train: leaves a finished run's files, and remembers."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def finish(self, run: PlannedRun, flags: list[str]) -> None:
        """Leave a score that grows with the seed."""
        self.commands.append(run.command)
        name, seed = run.cfg.adapter.name, run.cfg.seed
        metrics = {
            "headline": {"name": "matthews_correlation", "value": SCORES[name] + seed / 64},
            "trainable_parameters": 100 * len(name),
            "head_parameters": 10,
            "train_seconds": float(len(name)),
            "peak_memory_bytes": 2**28,
        }
        write_text(run.folder.config, yaml.safe_dump(as_plain(run.cfg)))
        write_json(run.folder.metrics, metrics)
        write_json(run.folder.manifest, {"environment": {"cpu_threads": 1}})


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made = Trainings()
    monkeypatch.setattr(compare, "finish", made.finish)
    return made


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare.figure, "draw", lambda *_: [])


def table(folder: Path) -> dict[str, dict[str, str]]:
    """Read `comparison.csv`, by adapter."""
    text = (folder / "comparison.csv").read_text(encoding="utf-8")
    return {row["adapter"]: row for row in csv.DictReader(text.splitlines())}


@pytest.mark.slow
def test_the_numbers_are_those_of_the_runs(
    goft: Goft, trainings: Trainings, tmp_path: Path
) -> None:
    answer = goft(*WORDS, "seeds=2", "reference=lora")
    assert trainings.commands == [
        f"goft train adapter={name} seed={seed} trainer.max_steps=7"
        for seed in (1, 2)
        for name in ("goft", "lora")
    ]
    rows = table(tmp_path / "told")
    assert list(rows) == ["goft", "lora"]
    numbers = {key: float(value) for key, value in rows["goft"].items() if key in NUMBERS}
    assert numbers == pytest.approx(NUMBERS)
    assert rows["lora"]["difference"] == ""
    assert "0.523 ± 0.011" in answer.out
    assert "[+0.250, +0.250]" in answer.out
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "| lora | r=2 | 400 | 0.273 ± 0.011 | 0.281 | reference | 4.0 s | 256 MB |" in written
    assert "over 2 seeds (1, 2)" in written
    assert "different machines" not in written
    for suffix, start in {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}.items():
        assert (tmp_path / "told" / f"comparison.{suffix}").read_bytes().startswith(start)
    assert len((tmp_path / "told" / "runs.csv").read_text(encoding="utf-8").splitlines()) == 1 + 4


@pytest.mark.slow
def test_a_finished_run_is_reused_and_one_made_elsewhere_is_not_raced(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    assert "nothing here tells one adapter from another" in goft(*WORDS, "seeds=[5]").out
    manifest = next(tmp_path.rglob("goft/*/manifest.json"))
    manifest.write_text(json.dumps({"environment": {"cpu_threads": 8}}), encoding="utf-8")
    trainings.commands.clear()
    assert goft(*WORDS, "seeds=[5]").code == 0
    assert trainings.commands == []
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "different machines or versions: do not compare times" in written


NUMBERS = {
    "parameters": 400,
    "head_parameters": 10,
    "seeds": 2,
    "mean": 0.5 + 1.5 / 64,
    "standard_deviation": 0.5**0.5 / 64,
    "best": 0.5 + 2 / 64,
    "difference": 0.25,
    "interval_low": 0.25,
    "interval_high": 0.25,
    "train_seconds": 4,
    "peak_memory_bytes": 2**28,
}


@pytest.mark.slow
def test_a_matched_budget_is_part_of_the_runs_and_is_said(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    words = ["adapters=[qgoft,lora,oft]", "seeds=1", "budget=matched", "output_dir=told"]
    assert goft("compare", *words).code == 0
    assert trainings.commands == [
        "goft train adapter=qgoft seed=1",
        "goft train adapter=lora seed=1",  # its default is the nearest already
        "goft train adapter=oft seed=1 adapter.oft_block_size=8",
    ]
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "qgoft's 7,992 parameters; of it others spend lora 1.01, oft 0.88." in written


def planned() -> PlannedRun:
    return PlannedRun(("adapter=lora", "seed=2"), composed(["adapter=lora", "seed=2"]))


def test_a_run_is_goft_train_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(command: list[str], **_: Any) -> SimpleNamespace:  # noqa: ANN401 - of Popen
        started.append(command)
        return SimpleNamespace(wait=lambda: len(started) - 1)

    monkeypatch.setattr(runs.subprocess, "Popen", start)
    runs.finish(planned(), ["--config-dir", "mine"])
    words = ["--config-dir", "mine", "adapter=lora", "seed=2"]
    assert started == [[sys.executable, "-m", "goft_cli", "train", *words]]
    with pytest.raises(GoftError, match=r"goft train adapter=lora seed=2 failed"):
        runs.finish(planned(), [])


def test_an_interrupted_comparison_lets_its_run_save(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    def wait() -> int:
        if not told:
            told.append("waiting")
            raise Stopped(signal.SIGHUP)
        told.append("saved")
        return 130

    process = SimpleNamespace(wait=wait, send_signal=told.append)
    monkeypatch.setattr(runs.subprocess, "Popen", lambda *_, **__: process)
    with pytest.raises(Stopped):
        runs.finish(planned(), [])
    assert told == ["waiting", signal.SIGINT, "saved"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("adapter=lora", ["adapter=lora", "adapters=[...]"]),
        ("adapters=[goft,goft]", ["adapters=[goft,goft]", "each once"]),
        ("adapters=[goft,lroa]", ["there is no adapter lroa", "did you mean lora?"]),
        ("reference=oft", ["reference=oft", "one of adapters=[goft,qgoft,lora,linear]"]),
        ("seeds=0", ["seeds=0", "seeds=[1,2,3]"]),
        ("seeds=[1,1]", ["seeds=[1,1]", "different"]),
        ("task=mmlu/full", ["nothing to train on"]),
    ],
)
def test_a_mistake_is_answered_before_anything_trains(
    words: str, expected: list[str], goft: Goft, trainings: Trainings
) -> None:
    answer = goft("compare", *words.split())
    assert (answer.code, answer.out, trainings.commands) == (2, "", [])
    for word in expected:
        assert word in answer.err

"""`goft compare tune=K` gives adapters equally many trials, not scored on the headline's rows."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from goft_cli.config import TrainConfig
from goft_cli.config.task import TUNING
from goft_cli.tasks.families import build_task
from goft_cli.verbs.compare import comparison, runs
from goft_cli.verbs.compare.tuning import tuning_split
from goft_cli.verbs.train import train
from tests.conftest import Goft
from tests.support.comparisons import Trainings
from tests.support.recipe_cells import data_of
from tests.support.small_runs import composed, write_data, write_model

WORDS = ["compare", "adapters=[goft,lora]", "tune=3", "seeds=2", "output_dir=told"]
RECIPES = {"goft": 1e-2, "lora": 2e-3}
PLACES = ["task.eval_splits=[validation]", "task.headline_split=validation"]


def peaked(cfg: TrainConfig) -> float | None:
    """Return a score with its peak at 10 times LoRA's rate and at GOFT's own; None above 0.2."""
    if cfg.trainer.learning_rate > 0.2:
        return None
    best = {"goft": 1e-2, "lora": 2e-2}[cfg.adapter.name]
    return 0.5 - 0.1 * abs(math.log10(cfg.trainer.learning_rate / best)) + cfg.seed / 1000


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made = Trainings(peaked)
    monkeypatch.setattr(runs, "finish", made.finish)
    monkeypatch.setattr(comparison, "draw", lambda *_: [])
    monkeypatch.setattr(comparison, "draw_tuning", lambda *_: [])
    return made


def tried(trainings: Trainings, name: str) -> list[float]:
    """Return the learning rates of an adapter's trials."""
    cfgs = [run.cfg for run in trainings.planned if run.cfg.adapter.name == name]
    return sorted(cfg.trainer.learning_rate for cfg in cfgs if cfg.seed == 0)


@pytest.mark.slow
def test_each_adapter_tries_as_many_rates_and_then_runs_with_the_best(
    goft: Goft, trainings: Trainings, tmp_path: Path
) -> None:
    answer = goft(*WORDS)
    assert answer.code == 0, answer.err
    assert tried(trainings, "goft") == [3.16e-3, 1e-2, 3.16e-2, 0.1, 0.316]
    assert tried(trainings, "lora") == [6.32e-4, 2e-3, 6.32e-3, 2e-2, 6.32e-2]
    trials = [run for run in trainings.planned if run.cfg.seed == 0]
    assert {run.cfg.task.headline_split for run in trials} == {"validation"}
    assert {tuple(run.cfg.task.splits) for run in trials} == {("train", "validation")}
    last = trainings.planned[len(trials) :]
    assert [run.words for run in last] == [
        (f"adapter={name}", f"seed={seed}", f"trainer.learning_rate={rate}")
        for seed in (1, 2)
        for name, rate in (("goft", 0.01), ("lora", 0.02))
    ]
    assert {tuple(run.cfg.task.eval_splits) for run in last} == {("validation", "test")}
    rows = list(csv.DictReader((tmp_path / "told" / "tuning.csv").read_text().splitlines()))
    assert [row["learning_rate"] for row in rows if row["chosen"] == "True"] == ["0.01", "0.02"]
    assert len(rows) == 10
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "| 0.02 | 5 | 0.350 to 0.500 |" in written
    assert "| 0.01 | 5, 1 failed | 0.400 to 0.500 |" in written
    assert "no trial read the split test" in written
    assert "at an edge: 2 of these rates" in written
    found = json.loads((tmp_path / "told" / "comparison.json").read_text())
    assert [one["learning_rate"] for one in found["adapters"]] == [0.01, 0.02]


@pytest.mark.slow
def test_an_interrupted_tuning_goes_on_and_repeats_nothing(
    goft: Goft, trainings: Trainings
) -> None:
    trainings.most = 5  # of six
    assert goft(*WORDS).code == 2
    trainings.most = 0
    dry = goft(*WORDS, "dry_run=true")
    assert dry.code == 0
    assert "trials to run: 1\n" in dry.out
    assert "further trials: at most 4," in dry.out
    assert "runs to compare: 4," in dry.out
    last = "adapter=lora seed=0 trainer.learning_rate=0.00632"
    assert f"  goft train {last} '{PLACES[0]}' {PLACES[1]}\n" in dry.out
    assert "about 1 minutes, estimated by finished runs" in dry.out
    trainings.most = 1000
    assert goft(*WORDS).code == 0
    assert len({*trainings.commands}) == len(trainings.commands) == 10 + 4


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ([], "validation"),
        (["task=glue/cola", "model=minilm-l6"], TUNING),
        (["task=glue/mnli", "model=minilm-l6"], "validation_matched"),
        (["task=vtab/cifar", "model=vit-b16"], "val200"),
        (["task=vtab/cifar", "model=vit-b16", "task.selection=best_on_test"], TUNING),
        (["task=instruct/alpaca", "model=llama2-7b"], TUNING),
    ],
    ids=" ".join,
)
def test_the_split_of_the_headline_is_never_tuned_on(words: list[str], split: str) -> None:
    task = composed(words).task
    assert tuning_split(task) == split != task.headline_split


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["task=demo/qa"],
        ["task=demo/instructions", "model=tiny-llama", "task.holdout=0.25"],
        ["task=own/classification", *data_of("own/classification")],
    ],
    ids=" ".join,
)
def test_rows_to_tune_on_are_taken_from_those_to_train_on(words: list[str]) -> None:
    limits = ["task.max_train_samples=200"]
    tuning = [f"task.eval_splits=[{TUNING}]", f"task.headline_split={TUNING}"]
    whole = build_task(composed([*words, *limits]).task).load().splits["train"]
    task = build_task(composed([*words, *limits, *tuning]).task)
    data = task.load()
    assert [*data.splits] == ["train", TUNING]
    rest, held = (list(map(repr, data.splits[name])) for name in ("train", TUNING))
    assert sorted(rest + held) == sorted(map(repr, whole))
    assert len(held) == pytest.approx(0.1 * len(whole), abs=2)
    assert list(map(repr, task.load_some([TUNING]).splits[TUNING])) == held


@pytest.mark.slow
def test_the_headlines_rows_are_read_after_the_tuning_only(
    goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "finish_run", lambda cfg, **_: train(cfg))  # no process of its own
    model, data = write_model(tmp_path / "model"), write_data(tmp_path / "data")
    headline, whole = data / "dev.tsv", (data / "dev.tsv").read_text(encoding="utf-8")
    headline.write_text("sentence\tlabel\nno label here\n", encoding="utf-8")
    words = ["compare", "task=glue/cola", "model=minilm-l6", f"model.path={model}"]
    words += [f"task.data_dir={data}", "adapters=[goft,linear]", "tune=2", "seeds=1"]
    words += ["trainer.max_steps=2", "trainer.warmup_steps=0", "output_dir=told"]
    answer = goft(*words)
    assert answer.code == 2
    assert "dev.tsv" in answer.err
    trials = sorted(tmp_path.glob("outputs/**/seed0*/metrics.json"))
    assert len(trials) >= 4
    for trial in trials:
        assert [*json.loads(trial.read_text())["metrics"]] == [TUNING]
    assert not list(tmp_path.glob("outputs/**/seed1*/metrics.json"))
    made = {trial: trial.stat().st_mtime_ns for trial in trials}
    headline.write_text(whole, encoding="utf-8")
    assert goft(*words).code == 0
    assert {trial: trial.stat().st_mtime_ns for trial in trials} == made
    assert (tmp_path / "told" / "tuning.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "told" / "comparison.json").read_text())
    assert len({tuple(one["tuning"]) for one in told["adapters"]}) >= 1
    assert {len(one["tuning"]) for one in told["adapters"]} == {len(trials) // 2}

"""Test the sweep command: the jobs that run or are kept, its output and its exit code."""

from __future__ import annotations

import csv
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from goft_cli.compose.keys import group_choices
from goft_cli.config import TrainConfig
from goft_cli.run.configuration import read_config
from goft_cli.studies import jobs, sweep
from goft_cli.studies.hydra_main import run_composed
from goft_cli.studies.jobs import LEADERBOARD, JobRecord, State, write_record
from goft_cli.studies.runner import Outcome, Surroundings
from goft_cli.system.errors import FAILED_JOBS, GoftError, Stopped
from tests.conftest import ROOT, Goft
from tests.support import trivial_jobs
from tests.support.recipe_cells import CONFIGS, cell
from tests.support.small_runs import composed

SWEEP = ["train", "-m", "adapter=goft,qgoft", "seed=1"]
NAME = "adapter=goft,qgoft,seed=1"


@pytest.fixture(autouse=True)
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Surroundings]:
    """Run trivial jobs in this process instead of trainings; return the surroundings of each."""
    surroundings: list[Surroundings] = []

    def here(_: object, cfg: TrainConfig, around: Surroundings, **options: object) -> Outcome:
        surroundings.append(around)
        try:
            trivial_jobs.train(cfg)
        except GoftError as error:
            return Outcome(2, str(error))
        return Outcome()

    monkeypatch.setattr(jobs, "isolated", here)
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.05)
    monkeypatch.delenv("WANDB_RUN_GROUP", raising=False)
    return surroundings


def leaderboard(name: str) -> list[dict[str, str]]:
    text = Path("outputs", "sweeps", name, LEADERBOARD).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_jobs_have_ports_and_devices_of_their_own_and_one_group(
    goft: Goft, ran: list[Surroundings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert goft("train", "-m", "seed=1,2").code == 0
    for around in ran:
        assert around.environment["CUDA_VISIBLE_DEVICES"] == "4"  # one at a time, so the first
        assert around.environment["WANDB_RUN_GROUP"] == "seed=1,2"
        assert 0 < int(around.environment["MASTER_PORT"]) < 2**16


def test_a_job_of_several_processes_has_all_devices(
    goft: Goft, ran: list[Surroundings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert goft("train", "-m", "seed=1", "launcher.num_processes=2").code == 0
    assert [around.environment["CUDA_VISIBLE_DEVICES"] for around in ran] == ["4,7"]


@pytest.mark.slow
def test_a_failed_job_is_shown_and_the_others_run(goft: Goft, ran: list[Surroundings]) -> None:
    answer = goft("train", "-m", "seed=13,2", "trainer.logging_steps=0,1")
    assert len(ran) == 2
    assert "job 1 (seed=13 trainer.logging_steps=1) failed: seed=13 brings bad luck" in answer.out
    assert "job 0 (seed=13 trainer.logging_steps=0) failed: trainer.logging_steps=0" in answer.out
    assert answer.code == FAILED_JOBS
    assert "4 jobs: 1 finished, 3 failed; exit code 3" in answer.out
    assert answer.err.startswith("goft: 3 of 4 jobs failed, first job 0 (seed=13 trainer.loggin")
    assert "the same command runs what is missing" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_jobs_of_a_verb_that_does_not_train_are_shown_without_a_leaderboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    watcher = threading.Timer(0, sweep.watch, [tmp_path, set(), ended])
    watcher.start()
    for number, words in enumerate(("strength=0.5", "strength=0")):
        write_record(tmp_path / str(number), JobRecord(number, words, State.finished))
        threading.Event().wait(3 * sweep.POLL_SECONDS)
    ended.set()
    watcher.join()
    shown = capsys.readouterr().out
    assert "job 0 (strength=0.5) finished" in shown
    assert "job 1 (strength=0) finished" in shown


@pytest.mark.slow
def test_the_same_sweep_again_runs_only_what_is_missing(
    goft: Goft, ran: list[Surroundings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise Stopped(signal.SIGINT)

    with monkeypatch.context() as patch:
        calls = [jobs.isolated, interrupted]
        patch.setattr(jobs, "isolated", lambda *a, **k: calls.pop(0)(*a, **k))
        assert goft(*SWEEP).code == 130
    assert len(ran) == 1
    answer = goft(*SWEEP)
    assert (answer.code, len(ran)) == (0, 2)
    assert "2 jobs: 1 finished, 1 kept" in answer.out
    assert "job 0 (adapter=goft) finished earlier, kept" in answer.out
    assert "the same command again runs only what is missing" in answer.out
    assert len(leaderboard(NAME)) == 2


def test_the_order_of_the_words_makes_no_other_sweep() -> None:
    first, second = (sweep.sweep_folder(words) for words in (["b=1", "+a=2"], ["+a=2", "b=1"]))
    assert (
        first
        == second
        == (["hydra.sweep.dir='outputs/sweeps/a=2,b=1'"], Path("outputs/sweeps/a=2,b=1"))
    )
    assert sweep.sweep_folder(["hydra.sweep.dir=mine"]) == ([], Path("mine"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=1"],
    ],
    ids=["joblib", "submitit"],
)
def test_other_launchers_run_the_same_jobs(
    launcher: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", ["goft", "-m", "seed=1,13", *launcher])
    GlobalHydra.instance().clear()
    with pytest.raises(GoftError, match=r"1 of 2 .*seed=13"):
        run_composed("train", TrainConfig, trivial_jobs.train)
    (row,) = leaderboard("seed=1,13")
    assert row["seed"] == "1"
    assert Path("outputs/sweeps/seed=1,13/0/output.log").is_file()


OPTUNA = pytest.mark.filterwarnings("ignore:::optuna")  # the plugin needs version 2.10
SEARCHES = ["learning_rate", "penalty"]
GRIDS = [name for name in group_choices((CONFIGS,))["sweep"] if name not in SEARCHES]


def grid(preset: str) -> list[list[str]]:
    """Return the overrides of each job of a preset."""
    content = OmegaConf.load(CONFIGS / "sweep" / f"{preset}.yaml")
    words = [f"{key}={values}" for key, values in content.hydra.sweeper.params.items()]
    (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    return [[f"+sweep={preset}", *words] for words in jobs]


@pytest.mark.parametrize("preset", GRIDS)
def test_each_grid_composes(preset: str) -> None:
    found = grid(preset)
    assert len(found) > 1
    assert composed(found[0]) != composed(found[-1])


def test_figure_4b_is_the_papers() -> None:
    found = grid("figure4b")
    assert {tuple(words[1:]) for words in found} == {
        (f"task={task}", f"adapter.penalty_weight={penalty}")
        for task in ("glue/qnli", "glue/rte")
        for penalty in (0.001, 0.01, 0.05, 0.1, 0.5)
    }
    cfg, recipe = composed(found[-1]), cell("glue/rte", "qgoft")
    assert (cfg.model.name, cfg.task.name) == ("deberta-v3-base", "glue/rte")
    assert cfg.trainer == recipe.trainer
    assert replace(cast("Any", cfg.adapter), penalty_weight=0.05) == replace(
        recipe.adapter, target_modules=getattr(cfg.adapter, "target_modules", None)
    )


@pytest.mark.slow
@OPTUNA
@pytest.mark.parametrize(("preset", "task"), [("penalty", "glue/cola"), ("penalty", "vtab/cifar")])
def test_a_search_stays_near_the_recipe_and_comes_out_the_same(
    preset: str, task: str, goft: Goft
) -> None:
    words = ["train", "-m", f"+sweep={preset}", f"task={task}", "hydra.sweeper.n_trials=2"]
    assert goft(*words).code == 0
    configs = [read_config(path) for path in Path("outputs").rglob("config.yaml")]
    recipe = cell(task, "qgoft").trainer.learning_rate
    assert len(configs) == 2
    for cfg in configs:
        assert recipe / 4 <= cfg.trainer.learning_rate <= recipe * 4
        assert 0.001 <= getattr(cfg.adapter, "penalty_weight", 0) <= 0.5
    assert "2 jobs: 2 kept" in goft(*words).out


@OPTUNA
def test_a_search_without_a_preset_maximizes_and_comes_out_the_same(
    goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    made, asked = optuna.create_study, list[str]()

    def create(**words: Any) -> object:  # noqa: ANN401 - Optuna's own
        asked.append(str(words["directions"][0]))
        return made(**words)

    monkeypatch.setattr(optuna, "create_study", create)
    words = ["train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"]
    words.append("trainer.learning_rate=interval(0.001,0.1)")
    assert goft(*words).code == 0
    assert "2 jobs: 2 kept" in goft(*words).out
    assert asked == ["maximize", "maximize"]
    assert sweep.optuna_words([*words, "hydra.sweeper.direction=minimize"]) == [
        "hydra.sweeper.sampler.seed=0"
    ]
    assert not sweep.optuna_words(["+sweep=learning_rate"])


@OPTUNA
def test_a_search_survives_failures(goft: Goft) -> None:
    answer = goft("train", "-m", "+sweep=learning_rate", "hydra.sweeper.n_trials=2", "seed=13")
    assert answer.code == FAILED_JOBS
    lines = answer.err.splitlines()  # Optuna's own lines may come first
    assert any(line.startswith("goft: 2 of 2 jobs failed") for line in lines)


# Mistakes in a command, and words that the error message must contain.
MISTAKES = [
    ("+sweep=figure4b", ["needs -m", "goft train -m +sweep=figure4b"]),
    ("-m +sweep=figur4b", ["there is no such sweep; did you mean +sweep=figure4b?"]),
    ("-m sweep=figure4b", ["there is no key sweep; did you mean +sweep?"]),
    ("-m seed=1,2 hydra/launcher=jobli", ["no such plugin; did you mean joblib?"]),
    ("-m seed=1,2 hydra/sweeper=optna", ["no such plugin; did you mean optuna?"]),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES)
def test_a_mistake_gets_one_sentence(words: str, expected: list[str], goft: Goft) -> None:
    answer = goft("train", *words.split())
    assert (answer.code, answer.out) == (2, "")
    (sentence,) = answer.err.splitlines()
    assert all(word in sentence for word in expected)


@pytest.mark.parametrize(
    ("words", "kind", "name"),
    [
        ("seed=1,2 hydra/launcher=joblib", "launcher", "joblib"),
        ("seed=1,2 hydra/launcher=submitit_slurm", "launcher", "submitit_slurm"),
        ("+sweep=learning_rate", "sweeper", "optuna"),
    ],
)
def test_a_plugin_that_is_not_installed(
    words: str, kind: str, name: str, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    goft("train", "--cfg", "job")  # makes Hydra register its plugins, which it does once
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][kind], f"{name}.yaml")
    answer = goft("train", "-m", *words.split())
    assert (answer.code, answer.out) == (2, "")
    assert f"hydra/{kind}={name}: its plugin is not installed; run pip install" in answer.err
    assert "goft-cli[sweep]" in answer.err

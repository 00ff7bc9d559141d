"""Trackers get the curves of a run, are checked before it, and write into its folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import wandb
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from goft_cli.config import TrackerConfig, TrackerName, WandbMode
from goft_cli.run import pipeline, preflight
from goft_cli.system.errors import GoftError
from goft_cli.training.trackers import SERVICES, tracking
from tests.support import small_runs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    model, data = (
        small_runs.write_model(tmp_path / "model"),
        small_runs.write_data(tmp_path / "data"),
    )
    return small_runs.overrides(
        model, data, tmp_path / "run", "adapter=qgoft", "trainer.logging_steps=1"
    )


def test_tensorboard_has_loss_penalty_headline_and_rotations(words: list[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = pipeline.run(small_runs.composed([*words, "tracker=tensorboard"]))
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "train/penalty", "eval/matthews_correlation"} <= scalars
    assert {"train/geometry/angle_mean", "train/geometry/deviation_max"} <= scalars


def test_trackio_has_a_run_with_the_same_curves(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # trackio reads it at import
    cfg = small_runs.composed([*words, "tracker=trackio"])
    pipeline.run(cfg)
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(cfg.tracker.project)
    names = {name for row in SQLiteStorage.get_logs(cfg.tracker.project, run) for name in row}
    assert {"train/loss", "train/penalty", "eval/matthews_correlation"} <= names
    assert {"train/geometry/angle_mean", "train/geometry/deviation_max"} <= names


def test_mlflow_has_a_run_with_the_same_curves(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")  # overrides goft's experiment name
    cfg = small_runs.composed([*words, "tracker=mlflow"])
    pipeline.run(cfg)
    assert mlflow.active_run() is None, "closed with the run"
    (run,) = mlflow.search_runs(experiment_names=["mine"], output_format="list")
    assert run.info.run_name == f"{cfg.task.name}/{cfg.model.name}/{cfg.adapter.name}/test"
    assert run.info.status == "FINISHED"
    assert {"loss", "penalty", "eval_matthews_correlation"} <= run.data.metrics.keys()
    assert run.data.params["learning_rate"] == str(cfg.trainer.learning_rate)


def test_mlflow_is_told_that_a_run_failed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with pytest.raises(GoftError, match="loss became"):
        pipeline.run(small_runs.composed([*words, "tracker=mlflow", "trainer.learning_rate=1e20"]))
    (run,) = mlflow.search_runs(experiment_names=["mine"], output_format="list")
    assert run.info.status == "FAILED"


VARIABLES = {
    TrackerName.comet: ("COMET_START_ONLINE", "0", "COMET_PROJECT_NAME"),
    TrackerName.swanlab: ("SWANLAB_MODE", "offline", "SWANLAB_PROJECT"),
    TrackerName.clearml: ("CLEARML_OFFLINE_MODE", "1", "CLEARML_PROJECT"),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_service_is_set_up_and_closed_through_its_own_names(
    name: TrackerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    closed, before = [], dict(os.environ)
    service = replace(SERVICES[name], close=lambda *, failed: closed.append(failed))
    monkeypatch.setitem(SERVICES, name, service)
    mode, value, project = VARIABLES[name]
    tracker = TrackerConfig(name, project="mine", mode=WandbMode.offline)
    with tracking(tracker, tmp_path):
        assert os.environ[project] == "mine"
        assert os.environ[mode] == value
        assert all(os.environ[one].startswith(str(tmp_path)) for one in service.places)
    with pytest.raises(ValueError, match="x"), tracking(tracker, tmp_path):
        raise ValueError("x")
    assert closed == [False, True]
    assert dict(os.environ) == before, "a later run of this process may have other settings"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_service_without_a_key_is_refused_unless_it_stays_offline(
    name: TrackerName, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: True)
    monkeypatch.setenv("HOME", str(tmp_path))
    service, (mode, value, _) = SERVICES[name], VARIABLES[name]
    for variable in (service.key, mode, service.key_file[0] if service.key_file else ""):
        monkeypatch.delenv(variable or "X", raising=False)
    online = TrackerConfig(name)
    with pytest.raises(GoftError, match=rf"tracker={name.name}: no API key .*{service.key}"):
        preflight.check_tracker(online)
    preflight.check_tracker(TrackerConfig(name, mode=WandbMode.offline))
    monkeypatch.setenv(mode, value)
    preflight.check_tracker(online)
    monkeypatch.delenv(mode)
    monkeypatch.setenv(service.key or "X", "k" * 40)
    preflight.check_tracker(online)


def test_each_tracker_has_a_callback_of_trainer_s() -> None:
    assert {*SERVICES} == {*TrackerName} - {TrackerName.none}
    for name in SERVICES:
        assert name.value in INTEGRATION_TO_CALLBACK


@pytest.mark.slow
def test_wandb_offline_writes_into_the_run_folder(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "online")  # overridden by the configuration
    run = pipeline.run(small_runs.composed([*words, "tracker=wandb", "tracker.mode=offline"]))
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert wandb.run is None, "closed with the run, not with the process"


def test_wandb_without_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    online = TrackerConfig(name=TrackerName.wandb)
    with pytest.raises(GoftError, match=r"API key.*tracker.mode=offline"):
        preflight.check_tracker(online)
    preflight.check_tracker(TrackerConfig(name=TrackerName.wandb, mode=WandbMode.offline))
    monkeypatch.setenv("WANDB_MODE", "offline")
    preflight.check_tracker(online)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    preflight.check_tracker(online)


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(GoftError, match="tracker=tensorboard"):
        preflight.check_tracker(TrackerConfig(name=TrackerName.tensorboard))

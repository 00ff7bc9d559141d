"""Trackers: off by default, checked before the work, written into the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb

from goft_cli.config import TrackerConfig, TrackerName, WandbMode
from goft_cli.run import pipeline, preflight
from goft_cli.system.errors import GoftError
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
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    cfg = small_runs.composed([*words, "tracker=trackio"])
    pipeline.run(cfg)
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(cfg.tracker.project)
    names = {name for row in SQLiteStorage.get_logs(cfg.tracker.project, run) for name in row}
    assert {"train/loss", "train/penalty", "eval/matthews_correlation"} <= names
    assert {"train/geometry/angle_mean", "train/geometry/deviation_max"} <= names


@pytest.mark.slow
def test_wandb_offline_writes_into_the_run_folder(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "online")  # restored afterwards; the configuration wins
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

"""A run stopped by a signal resumes to the numbers of an uninterrupted run."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.outcome import MEASURED
from goft_cli.system.errors import GoftError, Stopped
from goft_cli.training.trainer import PenaltyTrainer
from tests.support import small_runs
from tests.support.refusals import described

# Three updates per epoch, of two batches each.
SETTINGS = ["adapter=qgoft", "trainer.num_train_epochs=2", "trainer.learning_rate=0.02"]
SETTINGS += ["trainer.gradient_accumulation_steps=2", "adapter.penalty_weight=0.01"]
SETTINGS += ["trainer.logging_steps=4"]  # so that signals come between two lines of the log
TIMED = ("_runtime", "_per_second", "total_flos")
# Overrides of how a run trains and saves, and the updates during which a signal comes: the first,
# the last of an epoch, one before an evaluation, the last of all.
CASES = {
    "each epoch": (["trainer.eval_strategy=epoch"], {1, 3, 6}),
    "every two updates": (["trainer.eval_strategy=steps", "trainer.eval_steps=2"], {3, 4}),
    "inside an epoch": (["trainer.max_steps=5", "trainer.lr_scheduler_type=constant"], {5}),
    # no evaluation beats the first by the threshold: the third, at update 9, ends the training
    "stopped early": (
        [
            "trainer.num_train_epochs=9",
            "trainer.early_stopping_patience=2",
            "trainer.early_stopping_threshold=2",
        ],
        {5, 9},
    ),
    "in eight bits": (["trainer.optim=adamw_bnb_8bit"], {2, 4}),
    "by length": (["trainer.train_sampling_strategy=group_by_length"], {2, 4, 5}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return small_runs.write_model(root / "model"), small_runs.write_data(root / "data")


def start(folders: tuple[Path, Path], output: Path, *words: str) -> RunFolder:
    settings = small_runs.overrides(*folders, output, *SETTINGS, *words)
    return RunFolder(pipeline.run(small_runs.composed(settings)))


class Signals(TrainerCallback):
    """Sends this process a signal at certain updates, once each."""

    def __init__(self, updates: set[int], number: signal.Signals, times: int = 1) -> None:
        self.updates, self.number, self.times = set(updates), number, times

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if state.global_step + 1 in self.updates:
            self.updates.discard(state.global_step + 1)
            for _ in range(self.times):
                signal.raise_signal(self.number)


Send = Callable[[TrainerCallback], None]


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Send:
    """Return a function that adds a callback to every trainer that is built afterwards."""

    def send(callback: TrainerCallback) -> None:
        real = pipeline.build_trainer

        def built(*arguments: Any, **options: Any) -> PenaltyTrainer:  # noqa: ANN401 - passed through
            trainer = real(*arguments, **options)
            trainer.add_callback(callback)
            return trainer

        monkeypatch.setattr(pipeline, "build_trainer", built)

    return send


def result(run: RunFolder) -> dict[str, Any]:
    """Return the metrics that must not depend on how often a run was started."""
    found = json.loads(run.metrics.read_text())
    for key in (*MEASURED, "config_sha256"):
        del found[key]
    return found


def logged(run: RunFolder) -> list[dict[str, Any]]:
    """Return the log without what was measured by the clock."""
    rows = json.loads(run.history.read_text())["logged"]
    return [{k: v for k, v in row.items() if not k.endswith(TIMED)} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_signals_change_no_number(
    case: str, folders: tuple[Path, Path], tmp_path: Path, signals: Send
) -> None:
    words, updates = CASES[case]
    whole = start(folders, tmp_path / "whole", *words)
    signals(Signals(updates, signal.SIGTERM))
    for update in sorted(updates):
        with pytest.raises(Stopped, match=f"SIGTERM; saved at update {update} of "):
            start(folders, tmp_path / "run", *words)
    run = start(folders, tmp_path / "run", *words)
    assert result(run) == result(whole)
    assert logged(run) == logged(whole)
    assert logged(run)[-1]["train_loss"] == pytest.approx(result(run)["train_loss"])
    expected, found = (load_file(one.adapter / "adapter_model.safetensors") for one in (whole, run))
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_hangup_saves(folders: tuple[Path, Path], tmp_path: Path, signals: Send) -> None:
    signals(Signals({2}, signal.SIGHUP))
    with pytest.raises(Stopped, match="SIGHUP; saved at update 2 of ") as stopped:
        start(folders, tmp_path / "run")
    assert stopped.value.code == 129
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-2").is_dir()


class Deletion(TrainerCallback):
    """Deletes the run folder during an update."""

    def __init__(self, folder: Path, update: int) -> None:
        self.folder, self.update = folder, update

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if state.global_step + 1 == self.update:
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("update", [1, 6], ids=["first", "last"])
def test_a_run_whose_folder_is_deleted_ends_with_a_sentence(
    update: int, folders: tuple[Path, Path], tmp_path: Path, signals: Send
) -> None:
    run = tmp_path / "run"
    signals(Deletion(run, update))
    with pytest.raises(GoftError, match="deleted or moved") as ended:
        start(folders, run)
    assert str(run) in described(ended.value)
    assert not run.exists()


def test_a_folder_that_is_deleted_before_the_last_files_is_not_made_anew(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.verify

    def deleted_meanwhile(*arguments: Any) -> Any:  # noqa: ANN401 - passed through
        found = real(*arguments)
        shutil.rmtree(tmp_path / "run")
        return found

    monkeypatch.setattr(pipeline, "verify", deleted_meanwhile)
    with pytest.raises(GoftError, match="deleted or moved"):
        start(folders, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_on_its_data_leaves_no_folder(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model, _ = folders
    data = small_runs.write_data(tmp_path / "data")
    (data / "train.tsv").write_text("sentence\tlabel\nthe dog .\tperhaps\n")
    with pytest.raises(GoftError, match="perhaps"):
        start((model, data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_signal_does_not_wait(
    folders: tuple[Path, Path], tmp_path: Path, signals: Send
) -> None:
    signals(Signals({2}, signal.SIGINT, times=2))
    with pytest.raises(Stopped, match="SIGINT; the same command resumes") as stopped:
        start(folders, tmp_path / "run")
    assert stopped.value.code == 130
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))

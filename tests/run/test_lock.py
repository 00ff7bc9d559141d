"""Only one process at a time can start a run, and a process that ended holds no lock."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.config import TrainConfig
from goft_cli.run import folder
from goft_cli.run.folder import RunFolder, open_run, opened
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json
from tests.conftest import ROOT, Goft
from tests.support.refusals import described, snapshot

# A process that holds the lock of a run until it is killed.
HOLDER = """
import sys
import time
from pathlib import Path
from goft_cli.run.folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock until the block ends or it is killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_start_says_who_is_at_work(cfg: TrainConfig) -> None:
    folder = RunFolder(Path(cfg.output_dir))
    with held_elsewhere(folder.lock) as other:
        before = snapshot(folder.path)
        with (
            pytest.raises(GoftError, match="another process is running this run") as refused,
            opened(cfg),
        ):
            pass
        assert snapshot(folder.path) == before
        since = json.loads(folder.lock.read_text())["since"]
    sentence = described(refused.value)
    assert all(word in sentence for word in (str(folder.path), str(other.pid), since))
    assert socket.gethostname() in sentence


def test_a_killed_holder_holds_nothing(cfg: TrainConfig) -> None:
    folder = RunFolder(Path(cfg.output_dir))
    with held_elsewhere(folder.lock) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with opened(cfg) as again:
            assert again.config.is_file()
            assert json.loads(again.lock.read_text())["pid"] == os.getpid()


@pytest.mark.slow
def test_the_command_refuses_a_second_start(goft: Goft, tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "run" / ".lock") as other:
        answer = goft("train", "output_dir=run", "overwrite=true")
    assert (answer.code, answer.out) == (2, "")
    assert str(other.pid) in answer.err
    assert "Traceback" not in answer.err


def test_the_lock_is_free_after_each_start(cfg: TrainConfig) -> None:
    for _ in range(2):
        with opened(cfg) as folder:
            write_json(folder.manifest, {})
    with pytest.raises(ZeroDivisionError):
        start(cfg, lambda _: 1 / 0)
    with opened(cfg):
        pass


def test_a_finished_run_is_opened_without_a_lock(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    write_json(run.metrics, {})
    before = snapshot(run.path)
    with held_elsewhere(run.path.parent / "unrelated"), opened(cfg) as again:
        assert again.finished
    assert snapshot(run.path) == before


def test_what_is_refused_is_not_locked(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    (run.checkpoints / "checkpoint-1").mkdir(parents=True)
    before = snapshot(run.path)
    with pytest.raises(GoftError, match="seed"), opened(replace(cfg, seed=7)):
        pass
    assert snapshot(run.path) == before


def test_a_disk_without_locks_is_used_with_a_warning(
    cfg: TrainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> None:
        raise OSError(min(folder.NO_LOCKS), "not here")

    monkeypatch.setattr(folder.FileLock, "acquire", refuse)
    with opened(cfg) as run:
        assert run.config.is_file()
    assert str(run.path) in caplog.text


def start(cfg: TrainConfig, work: Callable[[RunFolder], object]) -> None:
    with opened(cfg) as folder:
        work(folder)


def test_a_start_that_never_trained_leaves_no_folder(cfg: TrainConfig) -> None:
    def without_data(folder: RunFolder) -> None:
        folder.log.write_text("said")
        raise GoftError("no such data")

    with pytest.raises(GoftError, match="no such data"):
        start(cfg, without_data)
    assert not Path(cfg.output_dir).exists()


def test_a_folder_that_was_there_stays_and_so_do_its_files(cfg: TrainConfig) -> None:
    def interrupted(folder: RunFolder) -> None:
        (folder.path / "notes.txt").write_text("mine")
        raise KeyboardInterrupt

    path = Path(cfg.output_dir)
    path.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        start(cfg, interrupted)
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]
    (path / "notes.txt").unlink()
    with pytest.raises(ZeroDivisionError):
        start(cfg, lambda _: 1 / 0)
    assert path.is_dir()


def test_a_start_that_came_to_train_keeps_its_folder(cfg: TrainConfig) -> None:
    def diverging(folder: RunFolder) -> None:
        write_json(folder.manifest, {})
        raise GoftError("diverged")

    with pytest.raises(GoftError, match="diverged"):
        start(cfg, diverging)
    assert RunFolder(Path(cfg.output_dir)).manifest.is_file()


def test_a_folder_that_another_start_made_anew_is_known_as_such(
    cfg: TrainConfig, tmp_path: Path
) -> None:
    def begin(folder: RunFolder) -> None:
        write_json(folder.manifest, {"start": "second"})

    def replaced(folder: RunFolder) -> None:
        folder.check_there()
        folder.path.rename(tmp_path / "elsewhere")
        start(cfg, begin)
        folder.check_there()

    with pytest.raises(GoftError, match="deleted or moved") as refused:
        start(cfg, replaced)
    assert cfg.output_dir in described(refused.value)
    assert RunFolder(Path(cfg.output_dir)).manifest.is_file()

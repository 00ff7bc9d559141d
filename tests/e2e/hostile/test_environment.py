"""Errors of the machine: a full disk, no permission, no network, a missing package or device."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from goft_cli.compose.refusals import sentence_and_code
from goft_cli.config import LauncherConfig, TrackerConfig, TrackerName, TrainConfig
from goft_cli.rotation import engines
from goft_cli.run import preflight, prepare
from goft_cli.system import hub
from goft_cli.system.errors import USAGE_ERROR, GoftError
from goft_cli.system.secrets import BLOT, Redaction, redact
from goft_cli.training.launch_checks import check_launch
from goft_cli.verbs.train import train
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.refusals import described, refusal, snapshot

Patch = pytest.MonkeyPatch
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a model and data: odd characters in the names, the model a symlink."""
    root = tmp_path_factory.mktemp("ein Ordner, größer = 日本 $HOME")
    small_runs.write_model(root / "real model")
    small_runs.write_data(root / "d a t a", rows=8)
    (root / "mødel").symlink_to(root / "real model")
    return root


def config(inputs: Path, output: Path, **trainer: object) -> TrainConfig:
    words = ["task=glue/cola", "model=minilm-l6", "trainer.max_steps=1"]
    cfg = small_runs.composed([*words, "trainer.per_device_train_batch_size=8"])
    return replace(
        cfg,
        model=replace(cfg.model, path=str(inputs / "mødel")),
        task=replace(cfg.task, data_dir=str(inputs / "d a t a")),
        trainer=replace(cfg.trainer, **{"use_cpu": True, **trainer}),  # pyright: ignore[reportArgumentType] - a mixed dict
        output_dir=str(output),
    )


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def with_tracker(cfg: TrainConfig, name: TrackerName) -> TrainConfig:
    return replace(cfg, tracker=TrackerConfig(name=name))


def from_hub(cfg: TrainConfig) -> TrainConfig:
    return replace(cfg, model=replace(cfg.model, path="someone/something"))


def data_from_hub(cfg: TrainConfig) -> TrainConfig:
    return replace(cfg, task=replace(cfg.task, data_dir=None))


def no_network(patch: Patch) -> None:
    patch.setattr(hub, "unreachable", cache(lambda: "nobody answers"))
    patch.setattr(hub, "_offline_by_choice", lambda kind: None)


def offline(patch: Patch) -> None:
    """Change nothing: the tests already run offline."""


def no_key(patch: Patch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", "/nonexistent")


def at_loading(error: Exception) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(prepare, "load_backbone", raising(error))


def first_of(count: int, port: object) -> Callable[[Patch], None]:
    """Set the variables of a launcher whose first process opens the port, as in a PyTorchJob."""

    def started(patch: Patch) -> None:
        for name, value in {"RANK": 0, "WORLD_SIZE": count, "MASTER_PORT": port}.items():
            patch.setenv(name, str(value))

    return started


def in_processes(count: int) -> Callable[[TrainConfig], TrainConfig]:
    return lambda cfg: replace(cfg, launcher=LauncherConfig(count))


def on_gpus(cfg: TrainConfig) -> TrainConfig:
    return replace(in_processes(4)(cfg), trainer=replace(cfg.trainer, use_cpu=False))


def same(cfg: TrainConfig) -> TrainConfig:
    return cfg


Case = tuple[Callable[[Patch], None], Callable[[TrainConfig], TrainConfig], str]


def disk(number: int) -> Callable[[Patch], None]:
    """Make loading the base model fail with the system's error of this number."""
    return at_loading(OSError(number, os.strerror(number), "outputs/x"))


CASES: dict[str, Case] = {
    "no room at the start": (
        lambda patch: patch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 1)),
        same,
        "0 MB free on its disk, expected at least 64 MB",
    ),
    "no permission": (
        lambda patch: patch.setattr(os, "access", lambda path, mode: False),
        same,
        "no permission to write in",
    ),
    "full on the way": (disk(errno.ENOSPC), same, "the disk is full; free some space"),
    "quota used up": (
        at_loading(OSError(errno.EDQUOT, "quota")),
        same,
        "the disk quota is used up",
    ),
    "read-only": (
        at_loading(OSError(errno.EROFS, "ro", "x")),
        same,
        "the file system is read-only",
    ),
    "forbidden": (disk(errno.EACCES), same, "no permission; choose"),
    "no network for the model": (no_network, from_hub, "nobody answers"),
    "no network for the data": (no_network, data_from_hub, "nyu-mll/glue cannot be loaded"),
    "offline by choice": (offline, from_hub, "offline mode is on (HF_HUB_OFFLINE)"),
    "no tensorboard": (
        lambda patch: patch.setattr(preflight, "find_spec", lambda name: None),
        lambda cfg: with_tracker(cfg, TrackerName.tensorboard),
        "tracker=tensorboard: its package is not installed; run pip install tensorboard",
    ),
    "no wandb": (
        lambda patch: patch.setattr(preflight, "find_spec", lambda name: None),
        lambda cfg: with_tracker(cfg, TrackerName.wandb),
        "tracker=wandb: its package is not installed; run pip install wandb",
    ),
    "no key for wandb": (
        no_key,
        lambda cfg: with_tracker(cfg, TrackerName.wandb),
        "tracker=wandb: no API key found",
    ),
    "too few GPUs": (
        lambda patch: patch.setattr(torch.cuda, "device_count", lambda: 2),
        on_gpus,
        "launcher.num_processes=4, but this machine has 2 visible GPUs; pass launcher.num_proc",
    ),
    "another number of processes": (
        first_of(2, 0),
        in_processes(4),
        "launcher.num_processes=4, but a launcher started 2",
    ),
    "no port": (first_of(2, "tcp"), in_processes(2), "MASTER_PORT=tcp: no port"),
    "a port too high": (first_of(2, 2**16), in_processes(2), "MASTER_PORT=65536: no port"),
    "an unknown engine": (
        lambda patch: patch.setattr(engines, "_forced", "quick"),
        same,
        "GOFT_ENGINE=quick is unknown",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_environment_is_refused(
    case: str, inputs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, change, said = CASES[case]
    cfg = change(config(inputs, tmp_path / "new" / "run"))
    spoil(monkeypatch)
    assert said in refusal(lambda: train(cfg), inputs)


def test_a_port_that_is_taken_is_refused_where_it_would_be_opened(
    inputs: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    cfg = in_processes(2)(config(inputs, tmp_path / "run"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        first_of(2, port)(monkeypatch)
        said = refusal(lambda: train(cfg), tmp_path)
        assert f"MASTER_PORT={port}: address already in use; give all processes" in said
        monkeypatch.setenv("RANK", "1")
        check_launch(cfg)
        first_of(2, port)(monkeypatch)
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # torchrun opens it first
        check_launch(cfg)


SECRETS = {
    "HF_TOKEN": "hf_thisIsTheSecretOfTheHub",
    "WANDB_API_KEY": "w" * 40,
    "OPENAI_API_KEY": "sk-thisIsTheSecretOfTheJudge",
}


def test_odd_paths_work_and_secrets_stay_out_of_everything_written(
    inputs: Path, tmp_path: Path, monkeypatch: Patch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    output = tmp_path / "aus gabe, é"
    (tmp_path / "link").symlink_to(tmp_path)
    before = snapshot(inputs)
    train(config(inputs, tmp_path / "link" / output.name))
    assert json.loads((output / "metrics.json").read_text())["task"] == "glue/cola"
    assert snapshot(inputs) == before
    written = b"".join(path.read_bytes() for path in output.rglob("*") if path.is_file())
    printed = "".join(capfd.readouterr())
    for value in SECRETS.values():
        assert value.encode() not in written
        assert value not in printed


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_a_library_repeats_is_blotted_out(name: str, monkeypatch: Patch) -> None:
    secret = SECRETS[name]
    monkeypatch.setenv(name, secret)
    assert described(GoftError(f"401 for {secret} at x")) == f"401 for {BLOT} at x"
    record = logging.makeLogRecord({"msg": "key %s", "args": (secret,), "levelname": "INFO"})
    assert Redaction().filter(record)
    assert record.getMessage() == f"key {BLOT}"


def test_a_placeholder_is_no_secret(monkeypatch: Patch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert redact("found EMPTY") == "found EMPTY"


@pytest.mark.slow
def test_python_without_docstrings_is_refused(goft_process: Goft) -> None:
    answer = goft_process("train", PYTHONOPTIMIZE="2")
    assert answer.code == USAGE_ERROR
    assert "unset PYTHONOPTIMIZE" in answer.err


def test_a_warning_that_was_made_an_error_is_said() -> None:
    sentence, code = sentence_and_code(FutureWarning("old"), ["train"])
    assert code == USAGE_ERROR
    assert "FutureWarning: old; run unset PYTHONWARNINGS" in sentence

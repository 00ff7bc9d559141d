"""Resuming: the newest whole checkpoint is taken, and a damaged one is named and passed over."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from goft_cli.checkpoints import REQUIRED, STATE, find_damage, newest_complete

FILES = [*REQUIRED, "rng_state.pth"]


def write_checkpoint(folder: Path, step: int) -> Path:
    """Write what transformers.Trainer leaves for an adapter."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / STATE).write_text(json.dumps({"global_step": step, "log_history": [{"step": step}]}))
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "GOFT"}))
    save_file({"weight": torch.arange(64.0)}, path / "adapter_model.safetensors")
    torch.save({"state": {0: torch.ones(64)}}, path / "optimizer.pt")
    torch.save({"last_epoch": step}, path / "scheduler.pt")
    torch.save({"cpu": torch.get_rng_state()}, path / "rng_state.pth")
    return path


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_the_newest_is_taken_by_number(tmp_path: Path) -> None:
    paths = [write_checkpoint(tmp_path, step) for step in (9, 100, 20)]
    assert newest_complete(tmp_path) == paths[1]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    name: str,
    damage: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("goft_cli"), "propagate", True)
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    if damage == "missing":
        (broken / name).unlink()
    else:
        truncate(broken / name)
    assert find_damage(broken) == f"{name} is {damage}"
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged ({name} is {damage})" in caplog.text


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_is_damage(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1)
    (path / name).write_bytes(b"")
    assert find_damage(path) == f"{name} is truncated"
    assert newest_complete(tmp_path) is None


def test_a_flipped_bit_in_an_archive_is_damage(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1) / "optimizer.pt"
    content = bytearray(path.read_bytes())
    tensor = content.index(torch.ones(4).numpy().tobytes())
    content[tensor] ^= 1
    path.write_bytes(content)
    assert find_damage(path.parent) == "optimizer.pt is truncated"


def test_each_process_has_its_random_state(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1)
    (path / "rng_state.pth").rename(path / "rng_state_0.pth")
    torch.save({}, path / "rng_state_1.pth")
    assert newest_complete(tmp_path) == path
    truncate(path / "rng_state_1.pth")
    assert find_damage(path) == "rng_state_1.pth is truncated"


def test_without_checkpoints_training_starts_afresh(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-5").write_text("a file")
    (tmp_path / "checkpoint-best").mkdir()
    assert newest_complete(tmp_path) is None

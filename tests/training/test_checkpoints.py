"""Resuming: the newest whole checkpoint is taken, and a damaged one is named and passed over."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from goft_cli.training.checkpoints import (
    SEAL,
    STATE,
    by_step,
    find_damage,
    newest_complete,
    rotate,
    seal,
)

FILES = [STATE, "adapter_model.safetensors", "optimizer.pt", "rng_state_1.pth", "global_step/0.pt"]


def write_checkpoint(folder: Path, step: int, best: int | None = None) -> Path:
    """Write a sealed checkpoint with the files of several processes, some in a folder."""
    path = folder / f"checkpoint-{step}"
    (path / "global_step").mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(f"{name} after {step} updates".encode())
    (path / STATE).write_text(json.dumps({"global_step": step, "best_global_step": best}))
    seal(path)
    return path


def test_the_newest_is_taken_by_number(tmp_path: Path) -> None:
    paths = [write_checkpoint(tmp_path, step) for step in (9, 100, 20)]
    assert newest_complete(tmp_path) == paths[1]


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["missing", "truncated", "altered"])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    name: str,
    kind: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("goft_cli"), "propagate", True)
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    damage(broken / name, kind)
    assert find_damage(broken) == f"{name} is {kind}"
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged ({name} is {kind})" in caplog.text


@pytest.mark.parametrize("kind", ["missing", "truncated"])
def test_what_was_never_sealed_is_damage(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1)
    damage(path / SEAL, kind)
    assert newest_complete(tmp_path) is None
    assert "the list of its files, is missing or truncated" in (find_damage(path) or "")


@pytest.mark.parametrize("kind", ["missing", "truncated"])
def test_a_checkpoint_needs_the_best_one_it_names(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("goft_cli"), "propagate", True)
    first, best, newest = (write_checkpoint(tmp_path, step, min(step, 2)) for step in (1, 2, 3))
    assert newest_complete(tmp_path) == newest
    damage(best / "optimizer.pt", kind)
    assert newest_complete(tmp_path) == first
    assert f"the best so far, checkpoint-2: optimizer.pt is {kind}" in caplog.text


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, {1, 3}), (2, {1, 3}), (3, {1, 3, 2}), (4, {1, 3, 2, 9}), (9, {1, 3, 2, 9})],
)
def test_what_was_written_longest_ago_goes_first(keep: int, left: set[int], tmp_path: Path) -> None:
    for age, step in enumerate((3, 2, 9, 1)):  # 9 was damaged, and training went back to 1
        path = write_checkpoint(tmp_path, step)
        os.utime(path, ns=(0, 10**9 - age))
    rotate(tmp_path, keep, {"checkpoint-3", "checkpoint-1"})
    assert set(by_step(tmp_path)) == left


def test_without_checkpoints_training_starts_afresh(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-5").write_text("a file")
    (tmp_path / "checkpoint-best").mkdir()
    assert newest_complete(tmp_path) is None

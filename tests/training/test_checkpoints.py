"""Resuming takes the newest complete checkpoint; a damaged one is named and skipped."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from goft_cli.training.checkpoints import (
    SEAL,
    STATE,
    by_step,
    find_damage,
    newest_complete,
    prune,
    publish,
    seal,
)

Said = Callable[[], str]
TOTALS = {"Totals": {"args": {}, "attributes": {"seconds": 1.5, "loss": 2.0}}}
FILES = [STATE, "adapter_model.safetensors", "optimizer.pt", "rng_state_1.pth", "global_step/0.pt"]


def write_checkpoint(folder: Path, step: int, best: int | None = None) -> Path:
    """Write a sealed checkpoint with the files of several processes, some in a folder."""
    path = folder / f"checkpoint-{step}"
    (path / "global_step").mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(f"{name} after {step} updates".encode())
    torch.save({"step": torch.tensor(step)}, path / "optimizer.pt")
    state = {"global_step": step, "best_global_step": best, "stateful_callbacks": TOTALS}
    (path / STATE).write_text(json.dumps(state))
    seal(path)
    return path


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Return a function that returns the log so far."""
    monkeypatch.setattr(logging.getLogger("goft_cli"), "propagate", True)
    return lambda: caplog.text


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
    name: str, kind: str, tmp_path: Path, said: Said
) -> None:
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    damage(broken / name, kind)
    assert find_damage(broken) == f"{name} is {kind}"
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged ({name} is {kind})" in said()


@pytest.mark.parametrize("kind", ["missing", "truncated"])
def test_what_was_never_sealed_is_damage(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1)
    damage(path / SEAL, kind)
    assert newest_complete(tmp_path) is None
    assert SEAL in (find_damage(path) or "")


LONG = "9" * 5000
SEALS = {
    "a list": b"[]",
    "a number": b"3",
    "nothing": b"null",
    "deep": b"[" * 100_000,
    "a pickle": pickle.dumps({"a": 1}),
    "values of one": b'{"a": [1]}',
    "values of three": b'{"a": [1, "b", 2]}',
    "values without a list": b'{"a": "bc"}',
    "sizes as texts": b'{"a": ["1", "b"]}',
    "digests as numbers": b'{"a": [1, 2]}',
    "a long number": f'{{"a": [{LONG}, "b"]}}'.encode(),
    "a name too long": f'{{"{LONG}": [1, "b"]}}'.encode(),
    "a name that is no name": b'{"a\\u0000b": [1, "c"]}',
}


@pytest.mark.parametrize("case", SEALS)
def test_a_list_of_files_that_is_none_is_damage(case: str, tmp_path: Path, said: Said) -> None:
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    (broken / SEAL).write_bytes(SEALS[case])
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged" in said()


STATES = {
    "a pickle": pickle.dumps({"global_step": 2}),
    "a list": b"[]",
    "empty": b"",
    "deep": b"[" * 100_000,
    "without a step": json.dumps({"stateful_callbacks": TOTALS, "global_step": None}).encode(),
    "without totals": b'{"global_step": 2}',
    "other callbacks": b'{"global_step": 2, "stateful_callbacks": {"Others": {}}}',
    "totals a list": b'{"global_step": 2, "stateful_callbacks": {"Totals": [1]}}',
    "totals of words": json.dumps(
        {
            "global_step": 2,
            "stateful_callbacks": {"Totals": {"attributes": {"seconds": "long", "loss": 1.0}}},
        }
    ).encode(),
    "best by name": json.dumps(
        {"global_step": 2, "best_global_step": "../1", "stateful_callbacks": TOTALS}
    ).encode(),
    "keys of something else": b'{"global_step": 2, "colour": "red"}',
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_was_sealed_and_is_none_is_damage(
    case: str, tmp_path: Path, said: Said
) -> None:
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    (broken / STATE).write_bytes(STATES[case])
    (broken / SEAL).unlink()
    seal(broken)
    assert find_damage(broken) is None
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged ({STATE}" in said()


@pytest.mark.parametrize("content", [b"", b"x" * 99, pickle.dumps({"a": 1}), pickle.dumps(Path())])
def test_an_optimizer_that_was_pickled_is_damage(
    content: bytes, tmp_path: Path, said: Said
) -> None:
    whole, broken = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    (broken / "optimizer.pt").write_bytes(content)
    (broken / SEAL).unlink()
    seal(broken)
    assert newest_complete(tmp_path) == whole
    assert f"{broken} is damaged (optimizer.pt" in said()


def a_file(path: Path) -> None:
    path.write_text("x")


def a_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("name", ["checkpoint-5", "checkpoint-²"])
@pytest.mark.parametrize("make", [a_file, a_loop, Path.mkdir, os.mkfifo])
def test_what_is_called_a_checkpoint_and_is_none_is_named_and_gives_way(
    name: str, make: Callable[[Path], object], tmp_path: Path, said: Said
) -> None:
    whole = write_checkpoint(tmp_path, 1)
    make(tmp_path / name)
    assert newest_complete(tmp_path) == whole
    assert str(tmp_path / name) in said()
    aside = write_checkpoint(tmp_path / "aside", 5)
    publish(aside, tmp_path / name)
    assert find_damage(tmp_path / name) is None


def test_a_checkpoint_kept_elsewhere_is_dropped_by_its_link_alone(tmp_path: Path) -> None:
    elsewhere = write_checkpoint(tmp_path / "elsewhere", 1)
    (tmp_path / "checkpoint-1").symlink_to(elsewhere)
    newest = write_checkpoint(tmp_path, 2)
    prune(tmp_path, 1, {newest.name})
    assert by_step(tmp_path) == {2: newest}
    assert find_damage(elsewhere) is None


@pytest.mark.parametrize("kind", ["missing", "truncated"])
def test_a_checkpoint_needs_the_best_one_it_names(kind: str, tmp_path: Path, said: Said) -> None:
    first, best, newest = (write_checkpoint(tmp_path, step, min(step, 2)) for step in (1, 2, 3))
    assert newest_complete(tmp_path) == newest
    damage(best / "optimizer.pt", kind)
    assert newest_complete(tmp_path) == first
    assert f"the best so far, checkpoint-2: optimizer.pt is {kind}" in said()


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, {1, 3}), (2, {1, 3}), (3, {1, 3, 2}), (4, {1, 3, 2, 9}), (9, {1, 3, 2, 9})],
)
def test_what_was_written_longest_ago_goes_first(keep: int, left: set[int], tmp_path: Path) -> None:
    for age, step in enumerate((3, 2, 9, 1)):  # 9 was damaged, and training went back to 1
        path = write_checkpoint(tmp_path, step)
        os.utime(path, ns=(0, 10**9 - age))
    prune(tmp_path, keep, {"checkpoint-3", "checkpoint-1"})
    assert set(by_step(tmp_path)) == left


def test_without_checkpoints_training_starts_afresh(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-5").write_text("a file")
    (tmp_path / "checkpoint-best").mkdir()
    assert newest_complete(tmp_path) is None

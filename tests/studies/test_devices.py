"""Test that each job gets one GPU, and waits if none is free."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from goft_cli.studies import runner
from goft_cli.studies.runner import free_port, gpus, own_gpu, process_context


@pytest.mark.parametrize(
    ("setting", "found"),
    [("0,2", ["0", "2"]), ("", []), ("GPU-1, GPU-2", ["GPU-1", "GPU-2"]), ("MIG-a/1", ["MIG-a/1"])],
)
def test_the_users_choice_of_gpus_holds(
    setting: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert gpus() == found


@pytest.mark.parametrize("names", [[], ["0"]])
def test_a_single_gpu_is_not_shared_out(names: list[str], tmp_path: Path) -> None:
    with own_gpu(names, tmp_path / "locks") as first, own_gpu(names, tmp_path / "locks") as second:
        assert first is second is None
    assert not (tmp_path / "locks").exists()


def test_jobs_at_a_time_hold_different_gpus(tmp_path: Path) -> None:
    names = ["0", "MIG-a/1", "2"]
    with (
        own_gpu(names, tmp_path) as first,
        own_gpu(names, tmp_path) as second,
        own_gpu(names, tmp_path) as third,
    ):
        assert [first, second, third] == names
    with own_gpu(names, tmp_path) as again:
        assert again == "0"


def test_a_job_waits_for_a_free_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    got: list[str | None] = []

    def late() -> None:
        with own_gpu(["0", "1"], tmp_path) as name:
            got.append(name)

    waiting = threading.Thread(target=late)
    with own_gpu(["0", "1"], tmp_path), own_gpu(["0", "1"], tmp_path):
        waiting.start()
        waiting.join(0.05)
        assert got == []
    waiting.join()
    assert got[0] in {"0", "1"}


def test_a_gpu_is_never_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert process_context(several=True).get_start_method() == "spawn"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert process_context(several=True).get_start_method() == "forkserver"


def test_ports_differ() -> None:
    assert len({free_port() for _ in range(20)}) > 1

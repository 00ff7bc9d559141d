"""Missing folders, broken links, file size limits and full memory are refused with one sentence."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.compose.refusals import SAVE_FAILED, sentence_and_code
from goft_cli.config import TrainConfig
from goft_cli.run import pipeline
from goft_cli.run.pipeline import memory_errors
from goft_cli.run.summary import megabytes
from goft_cli.system.errors import USAGE_ERROR, GoftError, OutOfMemoryError
from goft_cli.system.files import written_aside
from goft_cli.system.locations import check_target, check_writable, whole_folder
from goft_cli.training.launch_checks import check_rank
from goft_cli.verbs.plan import batches
from goft_cli.verbs.plan.batches import advice, at_share, fitting_size, forecast
from goft_cli.verbs.plan.memory import Memory
from goft_cli.verbs.train import run_here
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.forks import start
from tests.support.refusals import described, snapshot

FULL_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
)
FULL: dict[str, Exception] = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9 GB)"),
    "CPU": FULL_CPU,
    "Python": MemoryError(),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
}
sizes = st.integers(0, 2**40)


def test_a_working_folder_that_is_gone_is_said(
    tmp_path: Path, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    answer = goft("train")
    assert answer.code == USAGE_ERROR
    assert "working folder" in answer.err
    monkeypatch.chdir(tmp_path)


def test_groups_of_the_users_own_that_a_verb_does_not_have(goft: Goft, tmp_path: Path) -> None:
    own = tmp_path / "own" / "task"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("defaults: [demo/chat]\n", encoding="utf-8")
    for verb in ("predict", "merge"):
        answer = goft(verb, "--config-dir", str(own.parent), "adapter=x", "task=mine")
        assert answer.code == USAGE_ERROR
        assert "task=mine" in answer.err
        assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("below", ["", "deeper/run"])
@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_link_to_nothing_or_to_itself_is_named(target: str, below: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    before = snapshot(tmp_path)
    with pytest.raises(GoftError, match="link") as caught:
        check_writable(link / below)
    assert str(link) in described(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("through", [".", "link"])
@pytest.mark.parametrize("cause", ["mount point", "no permission"])
def test_a_folder_that_no_other_can_replace_is_refused_before_the_work(
    cause: str, through: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = tmp_path / "above" / "fixed"
    fixed.mkdir(parents=True)
    (tmp_path / "link").symlink_to(fixed)
    target = fixed if through == "." else tmp_path / "link"
    check_target(target)
    if cause == "mount point":
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == fixed)
    else:
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != fixed.parent)
    with pytest.raises(GoftError, match=cause) as caught:
        check_target(target)
    assert f"output_dir={target} " in caught.value.problem
    remedy = Path(str(caught.value.remedy).partition("output_dir=")[2])
    check_target(remedy)
    with whole_folder(remedy) as folder:
        (folder / "file").touch()
    assert [path.name for path in fixed.rglob("*")] == [remedy.name, "file"]


def test_what_a_killed_process_left_is_removed_and_a_second_one_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "merged"

    def killed() -> int:
        with whole_folder(target) as folder:
            (folder / "half").touch()
            os._exit(9)

    assert start(killed).end()[0] == 9
    with whole_folder(target) as folder:
        with pytest.raises(GoftError, match="another process is writing it"), whole_folder(target):
            pass
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["merged", "whole"]


def test_what_was_written_there_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "merged"
    writing = whole_folder(target)
    (writing.__enter__() / "file").touch()
    target.mkdir()
    (target / "other").touch()
    with pytest.raises(GoftError, match="meanwhile"):
        writing.__exit__(None, None, None)
    assert [path.name for path in tmp_path.rglob("*")] == ["merged", "other"]


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(OSError, match="No space") as caught, written_aside(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert sentence_and_code(caught.value, ["predict"])[0].startswith(f"{path}: the disk is full")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("given", ["0", "-1", "four", "", "4", "2"])
def test_a_number_of_processes_that_no_launcher_left(
    given: str, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", given)
    answer = goft("train", "seed=1")
    assert answer.code == USAGE_ERROR
    assert f"WORLD_SIZE={given}" in answer.err
    assert "unset WORLD_SIZE" in answer.err


def test_a_rank_alone_that_no_launcher_left(goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")
    answer = goft("train", "seed=1")
    assert answer.code == USAGE_ERROR
    assert "unset LOCAL_RANK" in answer.err


def test_a_launchers_number_of_processes_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_rank()
    started = {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "localhost"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    check_rank()
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(GoftError, match="MASTER_ADDR") as caught:
        check_rank()
    assert "RANK" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EFBIG, "File too large"), ValueError("I/O error: File too large (os error 27)")],
)
def test_a_limit_on_the_size_of_files_is_named(error: Exception) -> None:
    assert "ulimit -f" in described(error)


def test_torch_does_not_say_whether_disk_or_limit_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = RuntimeError(f"[enforce fail] {SAVE_FAILED}")
    for limit, said in {resource.RLIM_INFINITY: "disk is full", 1024: "ulimit -f"}.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert said in described(failed)


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
@pytest.mark.parametrize(("verb", "key"), [("predict", "batch_size"), ("report", "smaller model")])
def test_memory_that_does_not_suffice_is_a_mistake_of_the_user(
    verb: str, key: str, error: Exception
) -> None:
    sentence, code = sentence_and_code(error, [verb])
    assert code == USAGE_ERROR
    assert "memory" in sentence
    assert key in sentence


@given(st.integers(2, 512), sizes, sizes, sizes)
def test_the_size_advised_is_the_largest_part_that_has_room(
    size: int, weights: int, activations: int, room: int
) -> None:
    memory = Memory(0, weights, 0, 0, activations, 0, 0, 0, 0)
    lower = fitting_size(size, memory, room)
    assert 1 <= lower < size
    assert size % lower == 0
    for larger in range(lower + 1, size):
        assert size % larger or at_share(memory, larger / size).peak > room
    assert lower == 1 or at_share(memory, lower / size).peak <= room


@pytest.fixture(scope="module")
def run_of_six(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return a run with batches of six rows and two batches per update."""
    root = tmp_path_factory.mktemp("six")
    model, data = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")
    cfg = small_runs.composed(small_runs.overrides(model, data, root / "run"))
    sized = replace(
        cfg.trainer, per_device_train_batch_size=6, gradient_accumulation_steps=2, max_steps=2
    )
    return replace(cfg, trainer=sized)


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_an_update_out_of_memory_names_smaller_batches_and_more_of_them(
    error: Exception, run_of_six: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gigabyte = 2**30
    expected = Memory(0, gigabyte, 0, 0, 6 * gigabyte, 0, 0, 0, 8 * gigabyte)
    monkeypatch.setattr(batches, "forecast", lambda cfg: expected)
    monkeypatch.setattr(batches, "total_bytes", lambda cfg: 3 * gigabyte)
    model = torch.nn.Linear(1, 1)
    with pytest.raises(OutOfMemoryError) as caught, memory_errors(model):
        raise error
    sentence = str(advice(run_of_six, updating=caught.value.updating))
    assert "trainer.per_device_train_batch_size=2" in sentence
    assert "trainer.gradient_accumulation_steps=6" in sentence
    assert megabytes(7 * gigabyte) in sentence
    model.eval()
    with pytest.raises(OutOfMemoryError) as caught, memory_errors(model):
        raise error
    sentence = str(advice(run_of_six, updating=caught.value.updating))
    assert "per_device_eval_batch_size" in sentence


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a shape"), memory_errors(torch.nn.Linear(1, 1)):
        raise RuntimeError("a shape")


@pytest.mark.slow
def test_the_numbers_are_those_of_the_plan(run_of_six: TrainConfig) -> None:
    memory = forecast(run_of_six)
    assert memory is not None
    half = replace(run_of_six.trainer, per_device_train_batch_size=3)
    halved = forecast(replace(run_of_six, trainer=half))
    assert halved is not None
    assert at_share(memory, 0.5).activations == pytest.approx(halved.activations, rel=0.2)


@pytest.mark.slow
def test_a_training_out_of_memory_is_one_sentence(
    run_of_six: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(pipeline.PenaltyTrainer, "training_step", full)
    with pytest.raises(GoftError, match=r"per_device_train_batch_size=3 .*steps=4"):
        run_here(run_of_six)


@pytest.mark.slow
def test_a_limit_on_files_loses_nothing(goft: Goft, tmp_path: Path) -> None:
    words = ("output_dir=run", "trainer.max_steps=2", "trainer.num_train_epochs=1")
    for limit, code in {
        1 << 10: USAGE_ERROR,
        20 << 10: USAGE_ERROR,
        resource.RLIM_INFINITY: 0,
    }.items():

        def train(limit: int = limit) -> int:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            answer = goft("train", *words)
            print(answer.err)
            return answer.code

        found, said = start(train).end()
        assert found == code, said
        assert code == 0 or "ulimit -f" in said
    assert (tmp_path / "run" / "metrics.json").is_file()

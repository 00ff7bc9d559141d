"""A run folder opens if it is new or of the same run; another run or damage is refused."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from goft_cli.config import TrackerConfig, TrackerName, TrainConfig
from goft_cli.run.configuration import config_sha256, read_config
from goft_cli.run.folder import MAX_DIFFERENCES, RunFolder, open_run
from goft_cli.system.errors import GoftError
from goft_cli.system.files import REPLACED, read_json, write_json, write_text
from tests.support.recipe_cells import cell


def with_trainer(cfg: TrainConfig, **changes: object) -> TrainConfig:
    return replace(cfg, trainer=cast(Any, replace)(cfg.trainer, **changes))


def test_a_new_run_starts_with_its_configuration(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "written.txt"}
    assert not run.finished
    assert read_config(run.config) == cfg


def test_an_empty_folder_is_welcome(cfg: TrainConfig) -> None:
    Path(cfg.output_dir).mkdir(parents=True)
    assert open_run(cfg).config.is_file()


@pytest.mark.parametrize("finished", [False, True])
def test_the_same_run_is_found_again(cfg: TrainConfig, finished: bool) -> None:
    run = open_run(cfg)
    if finished:
        write_json(run.metrics, {})
    before = run.config.stat().st_mtime_ns
    again = open_run(cfg)
    assert again.finished is finished
    assert again.config.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [
        lambda cfg: replace(cfg, tracker=TrackerConfig(TrackerName.wandb, project="x")),
        lambda cfg: replace(cfg, run_name="other"),
    ],
)
def test_what_changes_no_number_changes_no_run(
    cfg: TrainConfig, change: Callable[[TrainConfig], TrainConfig]
) -> None:
    open_run(cfg)
    assert config_sha256(change(cfg)) == config_sha256(cfg)
    open_run(change(cfg))


def test_a_moved_run_is_the_same_run(cfg: TrainConfig, tmp_path: Path) -> None:
    moved = open_run(cfg).path.rename(tmp_path / "moved")
    open_run(replace(cfg, output_dir=str(moved)))


def with_checkpoint(run: RunFolder) -> RunFolder:
    (run.checkpoints / "checkpoint-1").mkdir(parents=True)
    return run


def test_a_run_that_never_trained_gives_way_to_another(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    run.checkpoints.mkdir()
    assert read_config(open_run(replace(cfg, seed=7)).config).seed == 7


def test_another_configuration_is_refused_with_the_difference(cfg: TrainConfig) -> None:
    run = with_checkpoint(open_run(cfg))
    other = with_trainer(replace(cfg, seed=7), learning_rate=0.5)
    assert config_sha256(other) != config_sha256(cfg)
    with pytest.raises(GoftError, match="another configuration") as refused:
        open_run(other)
    sentence = str(refused.value)
    assert str(run.path) in sentence
    assert f"seed is {cfg.seed} there and 7 here" in sentence
    rate = cfg.trainer.learning_rate
    assert f"trainer.learning_rate is {rate} there and 0.5 here" in sentence
    assert "overwrite=true" in sentence
    assert "more" not in sentence


def test_many_differences_are_counted(cfg: TrainConfig) -> None:
    with_checkpoint(open_run(cfg))
    other = cell("glue/stsb", "lora")
    with pytest.raises(GoftError, match=r"and \d+ more") as refused:
        open_run(replace(other, output_dir=cfg.output_dir))
    assert str(refused.value).count(" there and ") == MAX_DIFFERENCES


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": \xff}'])
def test_a_damaged_result_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(GoftError, match=r"metrics\.json"):
        read_json(path)


def test_a_missing_result_says_so(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"metrics\.json"):
        read_json(RunFolder(tmp_path).metrics)


def test_json_is_written_whole_and_in_any_script(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.json"
    write_json(path, {"name": "naïve 日本", "value": 0.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "naïve 日本", "value": 0.5}
    assert "naïve" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("step", ["open", "replace"])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_full_disk_leaves_what_was_there(
    old: str | None, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    if old is not None:
        path.write_text(old)

    def full(self: Path, *_: object, **__: object) -> None:
        if step == "open":
            with open(self, "wb") as file:  # noqa: PTH123 - Path.open is what this replaces
                file.write(b"half of i")
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if old is None else [path.name])
    assert old is None or path.read_text() == old


def test_a_folder_behind_a_link_is_replaced_in_place(cfg: TrainConfig, tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "run", tmp_path / "link"
    target.mkdir(parents=True)
    link.symlink_to(target)
    linked = replace(cfg, output_dir=str(link))
    run = with_checkpoint(open_run(linked))
    write_json(run.metrics, {})
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    again = open_run(replace(linked, overwrite=True))
    assert not again.has_results
    assert link.readlink() == target
    left = {"config.yaml", "notes.txt", "written.txt", REPLACED}
    assert {path.name for path in target.iterdir()} == left

"""A run is a folder: new, finished, the same, another one's, or damaged."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from goft_cli.config import TrackerConfig, TrackerName, TrainConfig
from goft_cli.errors import GoftError
from goft_cli.runs.run_folder import (
    MAX_DIFFERENCES,
    RunFolder,
    config_sha256,
    open_run,
    read_config,
    read_json,
    write_json,
    write_text,
)
from tests.cells import DIAGONAL, cell


@pytest.fixture
def cfg(tmp_path: Path) -> TrainConfig:
    return replace(cell("demo/acceptability", "goft"), output_dir=str(tmp_path / "a" / "run"))


def with_trainer(cfg: TrainConfig, **changes: object) -> TrainConfig:
    return replace(cfg, trainer=cast(Any, replace)(cfg.trainer, **changes))


def test_a_new_run_starts_with_its_configuration(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
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
    with pytest.raises(GoftError, match="holds a run of another configuration") as refused:
        open_run(other)
    sentence = str(refused.value)
    assert f"{run.path} holds" in sentence
    assert f"seed is {cfg.seed} there and 7 here" in sentence
    rate = cfg.trainer.learning_rate
    assert f"trainer.learning_rate is {rate} there and 0.5 here" in sentence
    assert "overwrite=true" in sentence
    assert "more" not in sentence


def test_many_differences_are_counted(cfg: TrainConfig) -> None:
    with_checkpoint(open_run(cfg))
    other = cell("glue/stsb", "lora")
    with pytest.raises(GoftError, match=r"; and \d+ more\); choose another run_name") as refused:
        open_run(replace(other, output_dir=cfg.output_dir))
    assert str(refused.value).count(" there and ") == MAX_DIFFERENCES


@pytest.mark.parametrize("seed", [42, 7])
def test_overwrite_starts_afresh(cfg: TrainConfig, seed: int) -> None:
    run = open_run(cfg)
    write_json(run.metrics, {})
    wanted = replace(cfg, seed=seed, overwrite=True)
    assert not open_run(wanted).finished
    assert read_config(run.config) == wanted


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", "config.yaml"])
def test_a_folder_of_something_else_is_left_alone(
    cfg: TrainConfig, overwrite: bool, name: str
) -> None:
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True)
    (folder / name).write_text("precious: true")
    with pytest.raises(GoftError, match=r"holds no run of goft; choose another output_dir"):
        open_run(replace(cfg, overwrite=overwrite))
    assert (folder / name).read_text() == "precious: true"


@pytest.mark.parametrize(("task", "adapter"), DIAGONAL)
def test_a_configuration_survives_the_disk(task: str, adapter: str, tmp_path: Path) -> None:
    cfg = replace(cell(task, adapter), output_dir=str(tmp_path / "run"))
    assert read_config(open_run(cfg).config) == cfg


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "found no configuration"),
        (b"- 1\n- 2\n", "found no configuration"),
        (b"a: [1", "not readable as YAML"),
        (b"a: \xff\xfe", "not readable as YAML"),
        (b"a: 1\n", "not a configuration of goft train"),
    ],
)
def test_a_damaged_configuration_says_so(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(GoftError, match=sentence) as refused:
        read_config(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": 3}, "its task section fits no schema"),
        ({"task": {}}, "its task section fits no schema"),
        ({"unheard": 1}, "not a configuration of goft train"),
        ({"trainer.learning_rate": "fast"}, "not a configuration of goft train"),
        ({"trainer.learning_rate": -1}, "trainer.learning_rate=-1.0 is out of range"),
        ({"adapter.method": "zzz"}, "not a configuration of goft train"),
        ({"adapter.unheard": 1}, "its adapter section fits no schema"),
    ],
)
def test_a_configuration_of_another_version_says_so(
    cfg: TrainConfig, change: dict[str, Any], sentence: str
) -> None:
    path = open_run(cfg).config
    plain = yaml.safe_load(path.read_text())
    for key, value in change.items():
        section, _, leaf = key.rpartition(".")
        (plain[section] if section else plain)[leaf] = value
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(GoftError, match=sentence) as refused:
        read_config(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": \xff}'])
def test_a_damaged_result_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(GoftError, match=r"metrics.json: not readable as JSON; run the training"):
        read_json(path)


def test_a_missing_result_says_so(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"metrics.json: no such file; is the run finished\?"):
        read_json(RunFolder(tmp_path).metrics)


def test_json_is_written_whole_and_in_any_script(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.json"
    write_json(path, {"name": "naïve 日本", "value": 0.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "naïve 日本", "value": 0.5}
    assert "naïve" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_full_disk_leaves_what_was_there(
    old: str | None, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    if old is not None:
        path.write_text(old)
    real = Path.write_bytes

    def full(self: Path, *_: object, **__: object) -> None:
        if step == "write_bytes":
            real(self, b"half of i")
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if old is None else [path.name])
    assert old is None or path.read_text() == old

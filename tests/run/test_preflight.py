"""Models, data and run folders that cannot be used are refused with one sentence before a run."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from goft_cli.config import TrainConfig
from goft_cli.run.preflight import check_benchmark, check_inputs
from goft_cli.system import hub
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import MIN_FREE_BYTES, asset_dir, model_location
from tests.support.hub_caches import cache_dataset, cache_model, turn_to
from tests.support.multiple_choice import config
from tests.support.recipe_cells import cell

Usage = namedtuple("Usage", "total used free")
ASSETS = ["tiny-deberta-v3", "tiny-llama", "tiny-vit"]


@pytest.fixture
def cfg(tmp_path: Path) -> TrainConfig:
    """Return a run on a shipped model and data, so that only its folders can be wrong."""
    base = cell("demo/acceptability", "goft")
    return replace(base, output_dir=str(tmp_path / "outputs" / "run"))


def with_data(cfg: TrainConfig, folder: Path) -> TrainConfig:
    return replace(cfg, task=replace(cfg.task, data_dir=str(folder)))


def test_good_inputs_pass_and_leave_no_trace(cfg: TrainConfig, tmp_path: Path) -> None:
    check_inputs(cfg)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["gpt2", "microsoft/deberta-v3-base"])
def test_a_hub_id_passes_through(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_location(path) == path


@pytest.mark.parametrize("name", ASSETS)
def test_shipped_models_are_found(name: str) -> None:
    assert model_location(f"asset:{name}") == asset_dir(name)


def test_an_unknown_asset_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match="tiny-deberta-v3, tiny-l"):
        model_location("asset:tiny-debrta")


def test_a_model_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for written in ("model", "./model", str(tmp_path / "model"), "~/model", "model/"):
        found = model_location(written)
        assert isinstance(found, Path)
        assert (found / "config.json").is_file()


def missing(folder: Path) -> None:
    assert not folder.exists()


def a_file(folder: Path) -> None:
    folder.write_text("x")


def with_other_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("x")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (missing, "no such folder; pass the folder that holds a model"),
        (a_file, "is a file; pass the folder that holds a model"),
        (Path.mkdir, "the folder is empty; expected a model in it"),
        (with_other_files, "found notes.txt but no config.json; pass a folder written by"),
    ],
)
def test_a_bad_model_folder(make: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    make(tmp_path / "model")
    with pytest.raises(GoftError, match=sentence) as refused:
        model_location(str(tmp_path / "model"))
    assert str(refused.value).startswith(f"model.path={tmp_path}/model")


@pytest.mark.parametrize("written", ["./nowhere", "../nowhere", "~/nowhere", "nowhere/", "a/b/c"])
def test_what_is_written_as_a_path_is_no_hub_id(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(GoftError, match="no such folder"):
        model_location(written)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (missing, "no such folder; pass the folder that holds data files"),
        (a_file, "is a file; pass the folder that holds data files"),
        (Path.mkdir, "the folder is empty; expected data files in it"),
    ],
)
def test_a_bad_data_folder(
    make: Callable[[Path], None], sentence: str, cfg: TrainConfig, tmp_path: Path
) -> None:
    make(tmp_path / "data")
    with pytest.raises(GoftError, match=f"task.data_dir={tmp_path}/data.* ?{sentence}"):
        check_inputs(with_data(cfg, tmp_path / "data"))


@pytest.mark.parametrize("inside", ["", "outputs"])
def test_a_run_folder_that_is_a_file(inside: str, cfg: TrainConfig, tmp_path: Path) -> None:
    blocked = Path(cfg.output_dir) if not inside else tmp_path / inside
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("x")
    with pytest.raises(GoftError, match=f"{blocked} .*output_dir"):
        check_inputs(cfg)


def test_a_run_folder_without_permission(
    cfg: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # os.access is patched: root, often the user in containers, may write despite the mode bits
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(GoftError, match=f"permission.*{tmp_path}"):
        check_inputs(cfg)


def test_a_full_disk(cfg: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, MIN_FREE_BYTES - 1))
    with pytest.raises(GoftError, match="64 MB"):
        check_inputs(cfg)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, MIN_FREE_BYTES))
    check_inputs(cfg)


def test_what_reads_the_tokenizer_is_looked_for_before_the_hub(
    cfg: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "unreachable", cache(lambda: "nobody answers"))
    model = replace(cfg.model, path="someone/something", requires=["torch", "no-such", "nor-this"])
    sentence = "pip install no-such nor-this$"
    with pytest.raises(GoftError, match=sentence):
        check_inputs(replace(cfg, model=model))
    with pytest.raises(GoftError, match=sentence):
        check_benchmark(config("mmlu/full"), model)


def test_the_data_of_a_benchmark_is_looked_for_too(
    cfg: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "unreachable", cache(lambda: "nobody answers"))
    with pytest.raises(GoftError, match=r"cais/mmlu .*benchmark\.data_dir="):
        check_inputs(replace(cfg, benchmark=config("mmlu/full")))
    missing = config("mmlu/full", data_dir=str(tmp_path / "none"))
    with pytest.raises(GoftError, match=r"benchmark\.data_dir=.*none"):
        check_inputs(replace(cfg, benchmark=missing))


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_what_neither_hub_nor_cache_has_is_refused_at_once(
    kind: str, cfg: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = cell("glue/cola", "goft").task if kind == "dataset" else cfg.task
    path = "someone/something" if kind == "model" else cfg.model.path
    wanted = replace(cfg, task=other, model=replace(cfg.model, path=path))
    monkeypatch.setattr(hub, "unreachable", cache(lambda: "nobody answers"))
    turn_to(tmp_path, monkeypatch)
    cache_model(tmp_path, "some/thing")
    cache_model(tmp_path, "someone/something", weights=False)
    cache_dataset(tmp_path, "some/thing", "small")
    cache_dataset(tmp_path, "nyu-mll/glue", "sst2")
    with pytest.raises(GoftError, match=rf"{kind} .*some/thing.*=DIR"):
        check_inputs(wanted)
    shutil.rmtree(tmp_path / "hub")
    cache_model(tmp_path, "someone/something")
    cache_dataset(tmp_path, "nyu-mll/glue", "cola")
    check_inputs(wanted)

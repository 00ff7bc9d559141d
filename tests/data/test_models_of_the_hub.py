"""Models of a stand-in hub: which files are downloaded, and what the cache serves offline."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from goft_cli.compose import own_model
from goft_cli.config import ModelConfig
from goft_cli.data import model_files
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.system import hub as own_hub
from goft_cli.system.errors import GoftError
from tests.support import small_runs
from tests.support.hub_caches import turn_to
from tests.support.hub_downloads import Files, files_of
from tests.support.hub_server import Hub
from tests.support.small_runs import Head
from tests.support.stored_models import FORMS, store_as

FIRST, SECOND = "a" * 40, "b" * 40
SETTINGS = ["config.json", "tokenizer.json", "tokenizer_config.json"]
OTHERS = dict.fromkeys(
    [
        "README.md",
        "tf_model.h5",
        "rust_model.ot",
        "flax_model.msgpack",
        "tf_model.h5.index.json",
        "onnx/model.onnx",
        "onnx/config.json",
        "1_Pooling/config.json",
        "modeling_mini.py",
        ".gitattributes",
    ],
    b"{}",
)
"""Files that loading the model does not need."""
MINI = ModelConfig(
    "mini", "me/mini", target_modules=["query"], head_modules=["pooler", "classifier"]
)


def published(folder: Path, form: str, *, seed: int = 0) -> Files:
    """Return the files of a repository: a model with its weights in one form, and `OTHERS`."""
    small_runs.write_model(folder, seed=seed)
    store_as(form, folder, torch.float16)
    return {**files_of(folder), **OTHERS}


def weights_of(files: Files) -> list[str]:
    return sorted(name for name in files if name not in {*SETTINGS, *OTHERS})


def load() -> Backbone:
    return load_backbone(MINI, Head())


def cut_off(how: str, hub: Hub, patch: pytest.MonkeyPatch) -> None:
    """Make the hub unreachable: by the user's offline setting, or by a refused connection."""
    hub.shelf.asked.clear()
    own_hub.unreachable.cache_clear()
    if how == "offline":
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        return
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        patch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")


@pytest.fixture(autouse=True)
def _empty_cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    turn_to(tmp_path / "cache", monkeypatch)
    yield
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_a_start_online_serves_those_without_the_hub(
    form: str, how: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = published(tmp_path / "model", form)
    hub.shelf.publish("me/mini", files, FIRST)
    first = load()
    assert hub.shelf.fetched() == sorted(SETTINGS + weights_of(files))
    assert first.revision == FIRST
    assert {parameter.dtype for parameter in first.model.parameters()} == {torch.float32}
    assert str(tmp_path) not in f"{first.model.name_or_path} {first.processor.name_or_path}"

    cut_off(how, hub, monkeypatch)
    again = load()
    assert (again.fingerprint, again.revision) == (first.fingerprint, FIRST)
    assert hub.shelf.asked == []


def test_safetensors_are_fetched_and_a_pickle_beside_them_is_not(hub: Hub, tmp_path: Path) -> None:
    files = published(tmp_path / "model", "safetensors")
    hub.shelf.publish("me/mini", {**files, "pytorch_model.bin": b"x", "model.fp16.bin": b"y"})
    load()
    assert hub.shelf.fetched() == sorted([*SETTINGS, "model.safetensors"])


def test_nothing_is_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    hub.shelf.publish("me/mini", published(tmp_path / "model", "pickle"))
    load()
    hub.shelf.asked.clear()
    load()
    assert hub.shelf.fetched() == []


def test_what_a_model_says_of_itself_is_fetched_without_its_weights(
    hub: Hub, tmp_path: Path
) -> None:
    hub.shelf.publish("me/mini", published(tmp_path / "model", "safetensors"))
    own_model.fetched_settings.cache_clear()
    cfg = small_runs.composed(["model=auto", "model.path=me/mini"]).model
    assert (cfg.name, cfg.path, cfg.architecture) == ("mini", "me/mini", "bert")
    assert hub.shelf.fetched() == SETTINGS
    own_model.fetched_settings.cache_clear()
    with pytest.raises(GoftError, match="me/nothing"):
        small_runs.composed(["model=auto", "model.path=me/nothing"])


@pytest.mark.parametrize("how", ["online", "offline", "unreachable"])
def test_a_commit_is_had_as_it_was(
    how: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.shelf.publish("me/mini", published(tmp_path / "old", "pickle", seed=1), FIRST)
    old = load()
    hub.shelf.publish("me/mini", published(tmp_path / "new", "pickle", seed=2), SECOND)
    new = load()
    assert (old.revision, new.revision) == (FIRST, SECOND)
    assert old.fingerprint != new.fingerprint
    if how != "online":
        cut_off(how, hub, monkeypatch)
    for made in (old, new):
        assert made.revision is not None
        again = load_backbone(replace(MINI, revision=made.revision), Head())
        assert (again.fingerprint, again.revision) == (made.fingerprint, made.revision)
    assert load().revision == SECOND


def test_a_model_that_was_fetched_in_part_is_missed_in_part(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.shelf.publish("me/mini", published(tmp_path / "model", "pickle in shards"))
    model_files.bring_settings(MINI)
    assert not model_files.is_cached(MINI)
    assert model_files.cached() == set()
    cut_off("offline", hub, monkeypatch)
    with pytest.raises(GoftError, match=r"model me/mini .*HF_HUB_OFFLINE.*model\.path=DIR"):
        load()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_cached_is_listed(form: str, hub: Hub, tmp_path: Path) -> None:
    hub.shelf.publish("me/mini", published(tmp_path / "model", form))
    load()
    assert model_files.is_cached(MINI)
    assert not model_files.is_cached(replace(MINI, revision=SECOND))
    assert model_files.cached() == {"me/mini"}


def test_large_files_may_lie_elsewhere_and_break_off(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    hub.shelf.publish("me/mini", published(tmp_path / "model", "safetensors"))
    model_files.bring_settings(MINI)
    hub.shelf.redirected, hub.shelf.broken = True, 1
    assert load().revision == FIRST
    there = [path for method, path in hub.shelf.asked if "elsewhere" in path and method == "GET"]
    assert len(there) == 2, "the second request asks for the rest"
    assert hub.shelf.resumed == 1


def test_one_line_says_what_is_downloaded(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = published(tmp_path / "model", "pickle in shards")
    hub.shelf.publish("me/mini", files)
    load()
    said = capsys.readouterr().err
    size = sum(len(files[name]) for name in weights_of(files) if name.endswith(".bin"))
    assert said.count("downloading") == 1
    assert f"downloading me/mini, {size / 1000:.1f} kB, once" in said
    load()
    assert "downloading" not in capsys.readouterr().err


def test_code_of_a_repository_comes_along_only_where_it_may_run(hub: Hub, tmp_path: Path) -> None:
    files = published(tmp_path / "model", "safetensors")
    hub.shelf.publish("me/mini", {**files, "parts/more.py": b"#"})
    model_files.bring_settings(MINI)
    assert hub.shelf.fetched() == SETTINGS
    model_files.bring_settings(replace(MINI, trust_remote_code=True))
    assert hub.shelf.fetched() == sorted([*SETTINGS, "modeling_mini.py", "parts/more.py"])


@pytest.mark.parametrize("missing", ["config.json", "pytorch_model.bin"])
def test_a_repository_of_another_kind_is_refused(missing: str, hub: Hub, tmp_path: Path) -> None:
    files = published(tmp_path / "model", "pickle")
    hub.shelf.publish("me/mini", {name: files[name] for name in files if name != missing})
    with pytest.raises(GoftError, match="model.path=me/mini: .*" + missing.partition("_")[0]):
        load()


def test_what_breaks_off_again_and_again_is_not_kept(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.shelf.publish("me/mini", published(tmp_path / "model", "safetensors"))
    hub.shelf.broken = 100
    with pytest.raises(GoftError, match=r"me/mini .*the connection broke"):
        load()
    hub.shelf.broken = 0
    assert load().revision == FIRST

"""A refusal by the hub, a proxy or the disk gets one sentence, with a remedy."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.config import DatasetConfig, ModelConfig
from goft_cli.data import dataset_files
from goft_cli.data.model_files import bring_settings, bring_weights
from goft_cli.system import hub, snapshots
from goft_cli.system.errors import GoftError
from tests.support.hub_caches import turn_to
from tests.support.hub_server import TOKEN, Hub

MODEL = ModelConfig("mini", "me/mini", target_modules=["query"])
DATA = DatasetConfig(id="me/set", config="small")
FILES = {"config.json": b"{}", "model.safetensors": b"x" * 4096}
NEVER = 10**6


@pytest.fixture(autouse=True)
def _published(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a model and a dataset on the stand-in hub, and use an empty cache."""
    turn_to(tmp_path / "cache", monkeypatch)
    hub.shelf.publish("me/mini", FILES)
    hub.shelf.publish("me/set", {"README.md": b"# A set"}, kind="dataset")


def gate(hub: Hub) -> None:
    for repository in hub.shelf.repositories.values():
        repository.gated = True


def hide(hub: Hub) -> None:
    for repository in hub.shelf.repositories.values():
        repository.private = True
    hub.shelf.closed_to.add(TOKEN)


CASES: dict[str, tuple[Callable[[Hub], object], list[str]]] = {
    "gated": (gate, ["licence", "hf auth login", "HF_TOKEN"]),
    "private": (hide, ["private", "hf auth login"]),
    "absent": (lambda hub: hub.shelf.repositories.clear(), ["no such", "hf auth login"]),
    "expired token": (lambda hub: hub.shelf.dead_tokens.add(TOKEN), ["401", "HF_TOKEN"]),
    "too many requests": (lambda hub: setattr(hub.shelf, "busy", NEVER), ["429", "wait"]),
    "web page": (lambda hub: setattr(hub.shelf, "web_page", True), ["proxy", "HF_ENDPOINT"]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_each_obstacle_has_its_sentence_before_anything_is_loaded(
    case: str, kind: str, hub: Hub
) -> None:
    change, words = CASES[case]
    change(hub)
    check = {
        "model": lambda: dataset_files.check_model(MODEL),
        "dataset": lambda: dataset_files.check_dataset(DATA, ["train"], "task"),
    }[kind]
    with pytest.raises(GoftError) as refused:
        check()
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert TOKEN not in sentence
    name, key = ("me/mini", "model.path=") if kind == "model" else ("me/set", "task.data_dir=")
    assert sentence.startswith(f"{kind} {name} ")
    for word in [*words, key]:
        assert word in sentence
    if case == "gated":
        assert f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}" in sentence


@pytest.mark.parametrize("case", CASES)
def test_each_obstacle_has_its_sentence_at_the_download_too(
    case: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    change, words = CASES[case]
    change(hub)
    with pytest.raises(GoftError) as refused:
        bring_settings(MODEL)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("case", sorted({*CASES} - {"gated"}))
def test_what_is_cached_serves_all_the_same(
    case: str, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bring_settings(MODEL)
    bring_weights(MODEL, folder)
    snapshots.ask_patiently.cache_clear()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    change, words = CASES[case]
    change(hub)
    dataset_files.check_model(MODEL)
    assert bring_settings(MODEL) == folder
    assert bring_weights(MODEL, folder) == "model.safetensors"
    assert all(word in caplog.text for word in [*words, "me/mini from the cache"])


def test_a_hub_that_is_busy_for_a_while_is_asked_again(hub: Hub) -> None:
    hub.shelf.busy = len(snapshots.WAITS)
    dataset_files.check_model(MODEL)


def test_a_mirror_that_does_not_know_the_question_of_licences(hub: Hub) -> None:
    hub.shelf.has_gates = False
    dataset_files.check_model(MODEL)
    dataset_files.check_dataset(DATA, ["train"], "task")
    assert bring_settings(MODEL).name == "a" * 40


def test_a_revision_that_is_not_there(hub: Hub) -> None:
    with pytest.raises(GoftError, match=r"no such revision.*/commits/main"):
        bring_settings(ModelConfig("mini", "me/mini", revision="v9"))
    assert hub.shelf.fetched() == []


def test_a_disk_too_small_is_seen_before_the_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bring_settings(MODEL)
    monkeypatch.setattr(snapshots, "free_bytes", lambda: 4095)
    with pytest.raises(GoftError, match=r"me/mini: .* MB free .*HF_HOME=DIR"):
        bring_weights(MODEL, folder)
    assert hub.shelf.fetched() == ["config.json"]
    monkeypatch.setattr(snapshots, "free_bytes", lambda: 4096)
    assert bring_weights(MODEL, folder) == "model.safetensors"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["is full", "HF_HOME=DIR"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ["is full", "HF_HOME=DIR"]),
        (RuntimeError("Data processing error"), ["is full", "HF_HOME=DIR"]),
        (PermissionError(errno.EACCES, "Permission denied"), ["cannot be written", "HF_HOME=DIR"]),
    ],
)
def test_a_disk_that_fills_during_the_download(
    error: Exception, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bring_settings(MODEL)

    def fail(*args: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", fail)
        patch.setattr(hub, "free_bytes", lambda: 0)
        with pytest.raises(GoftError) as refused:
            bring_weights(MODEL, folder)
    for word in ["model me/mini", *words]:
        assert word in str(refused.value)
    assert bring_weights(MODEL, folder) == "model.safetensors"

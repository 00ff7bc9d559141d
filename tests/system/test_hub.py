"""Test the probe of the hub, and loading from the caches when the hub cannot be reached."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from datasets import config as datasets_config
from huggingface_hub import constants
from transformers import AutoConfig

from goft_cli.config import DatasetConfig, ModelConfig
from goft_cli.data import model_files
from goft_cli.data.formats import Layout
from goft_cli.data.sources import Splits, read_splits
from goft_cli.system import hub
from goft_cli.system.errors import GoftError
from goft_cli.system.hub import Item
from tests.support.hub_caches import COMMIT, cache_dataset, cache_model


@pytest.fixture(autouse=True)
def _fresh_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Use empty caches and online mode, and forget the result of the probe before and after."""
    for name in ("HF_HUB_OFFLINE", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "" if name == "HF_HUB_OFFLINE" else "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets_config, name, False)
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    hub.unreachable.cache_clear()
    yield
    hub.unreachable.cache_clear()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the endpoint to a port on which no server listens; return its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return endpoint(probe.getsockname()[1], monkeypatch)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Set the endpoint to a server that answers every request with `Hub.status`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(Hub, "requests", [])
    endpoint(server.server_port, monkeypatch)
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


class Hub(BaseHTTPRequestHandler):
    """Answers every request with one status, and records the headers of the request."""

    status = 200
    error = ""
    requests: ClassVar[list[Any]] = []

    def do_HEAD(self) -> None:
        self.requests.append(dict(self.headers))
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.error)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - as above

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the test output quiet."""


def endpoint(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/{filename}")
    monkeypatch.setattr(datasets_config, "HF_ENDPOINT", url)
    return url


def load(name: str, config: str | None = None, revision: str | None = None) -> Splits:
    dataset = DatasetConfig(id=name, config=config, revision=revision)
    return read_splits(dataset, ["train", "validation"], data_dir=None, layout=Layout())


def test_a_hub_that_answers_is_reachable_and_asked_once(served: type[Hub]) -> None:
    assert hub.unreachable() is None
    assert hub.unreachable() is None
    assert len(served.requests) == 1
    assert constants.HF_HUB_OFFLINE is False


def test_the_probe_carries_no_credentials(
    served: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.unreachable()
    assert "hf_secret" not in str(served.requests)
    assert "Authorization" not in served.requests[0]


def test_a_failed_probe_stays_the_reason(closed: str) -> None:
    first = hub.away("model")
    assert first is not None
    assert f"the hub at {closed} cannot be reached" in first
    assert constants.HF_HUB_OFFLINE is True
    assert hub.away("dataset") == first


@pytest.mark.parametrize(("status", "there"), [(401, True), (404, True), (502, False)])
def test_a_refusal_is_an_answer_but_a_broken_gateway_is_none(
    served: type[Hub], monkeypatch: pytest.MonkeyPatch, status: int, there: bool
) -> None:
    monkeypatch.setattr(served, "status", status)
    assert (hub.unreachable() is None) is there


def test_a_silent_hub_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TIMEOUT_SECONDS", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint(listener.getsockname()[1], monkeypatch)
        start = time.monotonic()
        assert "cannot be reached" in (hub.unreachable() or "")
        assert time.monotonic() - start < 1


def test_a_missing_dataset_is_refused_at_once(closed: str, tmp_path: Path) -> None:
    cache_dataset(tmp_path, "some/other", "small")
    of_a_file = tmp_path / "datasets" / "json" / "default-69c0ca43e960412c" / "0.0.0" / "d78d"
    of_a_file.mkdir(parents=True)
    (of_a_file / "dataset_info.json").write_text("{}")
    start = time.monotonic()
    sentence = (
        rf"dataset nobody/nothing cannot be loaded: the hub at {closed} cannot be reached \(.*\); "
        r"cached datasets: some/other small; pass task.data_dir=DIR"
    )
    with pytest.raises(GoftError, match=sentence):
        load("nobody/nothing")
    assert time.monotonic() - start < 5


def item(name: str) -> Item:
    return model_files.item_of(ModelConfig(name="model", path=name))


def test_a_missing_model_is_refused_at_once(closed: str, tmp_path: Path) -> None:
    cache_model(tmp_path, "some/bert")
    sentence = (
        rf"model nobody/bert cannot be loaded: the hub at {closed} .*; cached models: some/bert"
    )
    with (
        pytest.raises(GoftError, match=sentence + "; pass model.path=DIR"),
        hub.require(item("nobody/bert")),
    ):
        AutoConfig.from_pretrained("nobody/bert")


@pytest.mark.usefixtures("closed")
def test_a_cached_model_serves_without_the_hub(tmp_path: Path) -> None:
    cache_model(tmp_path, "some/bert")
    with hub.require(item("some/bert")):
        assert AutoConfig.from_pretrained("some/bert").hidden_size == 24


@pytest.mark.usefixtures("closed")
def test_a_cached_dataset_serves_without_the_hub(tmp_path: Path) -> None:
    cache_dataset(tmp_path, "some/set", "small")
    tables, provenance = load("some/set", "small")
    assert list(tables["validation"].columns["sentence"]) == ["validation"]
    assert (provenance["source"], provenance["revision"]) == ("some/set small", COMMIT)


@pytest.mark.usefixtures("closed")
def test_another_cached_configuration_is_named(tmp_path: Path) -> None:
    cache_dataset(tmp_path, "some/set", "small")
    with pytest.raises(GoftError, match=r"some/set small.*task.data_dir"):
        load("some/set", "large")


@pytest.mark.usefixtures("closed")
def test_another_cached_commit_is_refused(tmp_path: Path) -> None:
    cache_dataset(tmp_path, "some/set", "small")
    with pytest.raises(GoftError, match=rf"revision=f{{40}}.*{COMMIT}"):
        load("some/set", "small", "f" * 40)


@pytest.mark.usefixtures("closed")
def test_a_split_that_the_dataset_lacks_is_named(tmp_path: Path) -> None:
    cache_dataset(tmp_path, "some/set", "small")
    dataset = DatasetConfig(id="some/set", config="small")
    with pytest.raises(GoftError, match=r"exam.*train, validation"):
        read_splits(dataset, ["exam"], data_dir=None, layout=Layout())


def test_a_dataset_that_the_hub_does_not_know(
    served: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "status", 404)
    with pytest.raises(GoftError, match=r"nobody/nothing .*none"):
        load("nobody/nothing")


def test_chosen_offline_mode_asks_nobody(
    served: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets_config, "HF_HUB_OFFLINE", True)
    with pytest.raises(GoftError, match=r"HF_HUB_OFFLINE"):
        load("nobody/nothing")
    assert served.requests == []


def test_offline_mode_of_datasets_alone(served: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets_config, "HF_HUB_OFFLINE", True)
    with pytest.raises(GoftError, match=r"HF_DATASETS_OFFLINE"):
        load("nobody/nothing")
    assert served.requests == []


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("error", [GoftError("mine"), KeyError("bug"), AssertionError("bug")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with (
        pytest.raises(type(error), match=str(error)),
        hub.require(item("x/y")),
    ):
        raise error

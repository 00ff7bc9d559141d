"""`goft train` from a stand-in hub, online and offline; the manifest records the commits."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from tests.conftest import Answer, Goft
from tests.support import small_runs
from tests.support.forks import start
from tests.support.hub_caches import turn_to
from tests.support.hub_downloads import files_of
from tests.support.hub_server import Hub, serving
from tests.support.stored_models import store_as

MODEL, DATA = "a" * 40, "b" * 40
WORDS = [
    "task=glue/cola",
    "model=minilm-l6",
    "model.path=me/mini",
    "task.dataset.id=me/glue",
    "trainer.max_steps=2",
    "trainer.use_cpu=true",
    "trainer.per_device_train_batch_size=4",
]
AWAY = ["model.path=away/model", "task.data_dir=away/data"]
CARD = b"""---
configs:
- config_name: cola
  data_files:
  - {split: train, path: cola/train-*}
  - {split: validation, path: cola/validation-*}
  - {split: auxiliary_train, path: cola/auxiliary_train-*}
---
"""


def publish(hub: Hub, folder: Path) -> None:
    """Publish a model whose only weights are a pickle in fp16, and its data."""
    data = {}
    for split in ("train", "validation", "auxiliary_train"):
        file = io.BytesIO()
        rows = [{"sentence": f"the {split} {verb}", "label": 1} for verb in ("sings", "runs")]
        Dataset.from_list(rows * 4).to_parquet(file)
        data[f"cola/{split}-00000-of-00001.parquet"] = file.getvalue()
    small_runs.write_model(folder)
    store_as("pickle", folder, torch.float16)
    hub.shelf.publish("me/mini", {**files_of(folder), "tf_model.h5": b"x"}, MODEL)
    hub.shelf.publish("me/glue", {"README.md": CARD, **data}, DATA, kind="dataset")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Hub]:
    """Yield a stand-in hub with a model and data, for commands that get its URL in HF_ENDPOINT."""
    with serving() as hub:
        publish(hub, tmp_path / "published")
        yield hub


@pytest.mark.slow
def test_online_then_offline_then_without_network_and_from_a_folder(
    mirror: Hub, goft: Goft, goft_process: Goft, tmp_path: Path
) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "no_proxy": "*", "HF_TOKEN": ""}
    home |= {"HF_ENDPOINT": mirror.url, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}

    def train(name: str, *words: str, **more: str) -> Answer:
        answer = goft_process("train", *WORDS, f"output_dir={name}", *words, **{**home, **more})
        assert answer.code == 0, answer.err
        check(name)
        return answer

    def check(name: str) -> None:
        recorded = json.loads((tmp_path / name / "manifest.json").read_text())
        assert recorded["model"]["revision"] == MODEL
        assert recorded["data"]["revision"] == DATA

    said = train("online").err
    fetched = [name for name in mirror.shelf.fetched() if name.startswith("cola")]
    assert fetched == [f"cola/{split}-00000-of-00001.parquet" for split in ("train", "validation")]
    assert "pytorch_model.bin" in mirror.shelf.fetched()
    assert "tf_model.h5" not in mirror.shelf.fetched()
    for line in ("downloading me/mini,", "downloading me/glue,", "has its weights in pytorch_mod"):
        assert said.count(line) == 1
    written = {path.name: path.read_text() for path in (tmp_path / "online").rglob("*.json")}
    recorded = json.loads(written.pop("manifest.json"))
    assert (recorded["model"]["source"], recorded["data"]["source"]) == ("me/mini", "me/glue cola")
    assert [name for name, text in written.items() if str(tmp_path / "home") in text] == []

    mirror.shelf.asked.clear()
    train("offline", HF_HUB_OFFLINE="1")
    pinned = [f"model.revision={MODEL}", f"task.dataset.revision={DATA}"]
    train("unplugged", *pinned, HF_ENDPOINT="http://127.0.0.1:9")
    assert mirror.shelf.asked == []

    answer = goft_process("fetch", *WORDS[:4], "output_dir=away", **home)
    assert answer.code == 0, answer.err
    shutil.rmtree(tmp_path / "home")
    in_a_fork(goft, "train", *WORDS, "output_dir=folder", *AWAY)
    check("folder")


def in_a_fork(goft: Goft, *words: str, **environment: str) -> None:
    """Run a command in a fork of this process, so that it leaves no state for later commands."""

    def work() -> int:
        answer = goft(*words)
        print(answer.err)
        return answer.code

    code, said = start(work, **environment).end()
    assert code == 0, said


@pytest.mark.slow
def test_a_run_reads_the_commits_that_it_was_trained_on(
    hub: Hub, goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_to(tmp_path / "caches", monkeypatch)
    publish(hub, tmp_path / "published")
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    train = ("train", *WORDS, "output_dir=run")
    in_a_fork(goft, *train, **online)
    data = hub.shelf.repositories["me/glue"].commits[DATA]
    hub.shelf.publish("me/glue", {**data, "README.md": CARD + b"new"}, "c" * 40, kind="dataset")
    in_a_fork(goft, *train, **online)  # a new card alone changes no rows
    changed = dict.fromkeys(data, data["cola/auxiliary_train-00000-of-00001.parquet"])
    hub.shelf.publish("me/glue", changed | {"README.md": CARD}, "d" * 40, kind="dataset")
    hub.shelf.publish("me/mini", {"config.json": b"{}"}, "e" * 40)
    for words in (["eval", "adapter=run"], ["verify", "run"]):
        in_a_fork(goft, *words, **online)

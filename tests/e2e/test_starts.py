"""`goft train` three times from a stand-in hub, each in a process of its own: see the manifest."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from tests.conftest import Answer, Goft
from tests.support import small_runs
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
CARD = b"""---
configs:
- config_name: cola
  data_files:
  - {split: train, path: cola/train-*}
  - {split: validation, path: cola/validation-*}
  - {split: auxiliary_train, path: cola/auxiliary_train-*}
---
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Hub]:
    """A hub elsewhere, with a model that has a pickle in fp16 alone, and its data."""
    data = {}
    for split in ("train", "validation", "auxiliary_train"):
        file = io.BytesIO()
        rows = [{"sentence": f"the {split} {verb}", "label": 1} for verb in ("sings", "runs")]
        Dataset.from_list(rows * 4).to_parquet(file)
        data[f"cola/{split}-00000-of-00001.parquet"] = file.getvalue()
    folder = small_runs.write_model(tmp_path / "published")
    store_as("pickle", folder, torch.float16)
    with serving() as hub:
        hub.shelf.publish("me/mini", {**files_of(folder), "tf_model.h5": b"x"}, MODEL)
        hub.shelf.publish("me/glue", {"README.md": CARD, **data}, DATA, kind="dataset")
        yield hub


@pytest.mark.slow
def test_online_then_offline_then_without_network_and_from_a_folder(
    mirror: Hub, goft_process: Goft, tmp_path: Path
) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "no_proxy": "*", "HF_TOKEN": ""}
    home |= {"HF_ENDPOINT": mirror.url, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}

    def train(name: str, *words: str, **more: str) -> Answer:
        answer = goft_process("train", *WORDS, f"output_dir={name}", *words, **{**home, **more})
        assert answer.code == 0, answer.err
        recorded = json.loads((tmp_path / name / "manifest.json").read_text())
        assert recorded["model"]["revision"] == MODEL
        assert recorded["data"]["revision"] == DATA
        return answer

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
    moved = {"HF_HOME": str(tmp_path / "nothing"), "HF_HUB_OFFLINE": "1"}
    train("folder", "model.path=away/model", "task.data_dir=away/data", **moved)


@pytest.mark.slow
def test_a_run_reads_the_commits_that_it_was_trained_on(
    mirror: Hub, goft_process: Goft, tmp_path: Path
) -> None:
    home = {"HF_HOME": str(tmp_path / "home"), "no_proxy": "*", "HF_TOKEN": ""}
    home |= {"HF_ENDPOINT": mirror.url, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    train = ("train", *WORDS, "output_dir=run")
    assert goft_process(*train, **home).code == 0
    data = mirror.shelf.repositories["me/glue"].commits[DATA]
    mirror.shelf.publish("me/glue", {**data, "README.md": CARD + b"new"}, "c" * 40, kind="dataset")
    answer = goft_process(*train, **home)
    assert answer.code == 0, "another card makes no other rows"
    changed = dict.fromkeys(data, data["cola/auxiliary_train-00000-of-00001.parquet"])
    mirror.shelf.publish("me/glue", changed | {"README.md": CARD}, "d" * 40, kind="dataset")
    mirror.shelf.publish("me/mini", {"config.json": b"{}"}, "e" * 40)
    for words in (["eval", "adapter=run"], ["verify", "run"]):
        answer = goft_process(*words, **home)
        assert answer.code == 0, answer.err

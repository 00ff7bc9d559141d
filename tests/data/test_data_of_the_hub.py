"""Datasets of a stand-in hub: only the wanted splits are downloaded; the cache works offline."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from huggingface_hub import constants

from goft_cli.compose.recomposition import compose_train
from goft_cli.compose.words import in_full
from goft_cli.config import DatasetConfig
from goft_cli.data import dataset_files
from goft_cli.data.dataset_files import split_patterns
from goft_cli.data.formats import PARSERS, Layout
from goft_cli.data.kinds import fitting_task
from goft_cli.data.sources import read_splits
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from goft_cli.verbs.fetch import fetch_data
from tests.support.hub_caches import COMMIT as BUILT
from tests.support.hub_caches import cache_dataset, turn_to
from tests.support.hub_downloads import Files
from tests.support.hub_server import TOKEN, Hub

COMMIT = "c" * 40
SPLITS = ["train", "validation"]
CARD = """---
configs:
- config_name: cola
  data_files:
  - {split: train, path: cola/train-*}
  - {split: validation, path: [cola/validation-*]}
  - {split: test, path: cola/test-*}
- config_name: rte
  data_files:
  - {split: train, path: rte/train-*}
---
# A text
"""
COLA = DatasetConfig(id="me/glue", config="cola")


def parquet(*sentences: str) -> bytes:
    file = io.BytesIO()
    Dataset.from_list([{"sentence": text, "label": 1} for text in sentences]).to_parquet(file)
    return file.getvalue()


def glue() -> dict[str, bytes]:
    """Return a dataset's files: two training shards, other splits and other configurations."""
    return {
        "README.md": CARD.encode(),
        "cola/train-00000-of-00002.parquet": parquet("one", "two"),
        "cola/train-00001-of-00002.parquet": parquet("three"),
        "cola/validation-00000-of-00001.parquet": parquet("four"),
        "cola/test-00000-of-00001.parquet": parquet("five"),
        "rte/train-00000-of-00001.parquet": parquet("six"),
        "other/cola/train-1.parquet": parquet("seven"),
    }


def read(dataset: DatasetConfig = COLA) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the sentences of each split, and the provenance that a manifest records."""
    tables, provenance = read_splits(dataset, SPLITS, data_dir=None, layout=Layout())
    return {name: list(table.columns["sentence"]) for name, table in tables.items()}, provenance


ROWS = {"train": ["one", "two", "three"], "validation": ["four"]}


@pytest.fixture(autouse=True)
def _empty_cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_to(tmp_path / "cache", monkeypatch)


def offline(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.shelf.asked.clear()


def test_only_the_wanted_splits_are_fetched_and_serve_offline(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = glue()
    hub.shelf.publish("me/glue", files, COMMIT, kind="dataset")
    assert not dataset_files.dataset_is_cached(COLA, SPLITS)
    rows, provenance = read()
    assert rows == ROWS
    wanted = [name for name in files if name.startswith(("cola/train", "cola/validation"))]
    assert hub.shelf.fetched() == sorted(["README.md", *wanted])
    assert (provenance["source"], provenance["revision"]) == ("me/glue cola", COMMIT)
    assert set(provenance["sha256"]) == {*wanted}

    offline(monkeypatch, hub)
    assert read() == (rows, provenance)
    assert hub.shelf.asked == []
    assert dataset_files.available() == {"me/glue cola"}
    assert dataset_files.dataset_is_cached(COLA, SPLITS)
    assert not dataset_files.dataset_is_cached(COLA, ["test"])


NAMED = CARD.replace(
    "---\n# A text",
    """dataset_info:
- config_name: cola
  features:
  - {name: sentence, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': acceptable, '1': unacceptable}}}
---
# A text""",
)
"""A dataset card with the names of the label ids, which the parquet files lack."""


def test_the_cards_names_of_labels_rule(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.shelf.publish("me/glue", {**glue(), "README.md": NAMED.encode()}, COMMIT, kind="dataset")

    def labels(data_dir: str | None) -> list[str]:
        tables, _ = read_splits(COLA, ["train"], data_dir=data_dir, layout=Layout())
        return list(tables["train"].named("label"))

    assert labels(None) == ["unacceptable"] * 3
    offline(monkeypatch, hub)
    assert labels(None) == ["unacceptable"] * 3
    fetch_data(COLA, ["train"], tmp_path / "away")
    assert labels(str(tmp_path / "away")) == ["unacceptable"] * 3


def test_a_card_that_describes_no_columns_is_refused(hub: Hub) -> None:
    damaged = NAMED.replace("dtype: string", "dtype: nonsense")
    hub.shelf.publish("me/glue", {**glue(), "README.md": damaged.encode()}, COMMIT, kind="dataset")
    with pytest.raises(GoftError, match=r"me/glue cola.*dataset_info"):
        read()


def test_a_commit_is_had_as_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.shelf.publish("me/glue", glue(), COMMIT, kind="dataset")
    read()
    changed = {**glue(), "cola/validation-00000-of-00001.parquet": parquet("new")}
    hub.shelf.publish("me/glue", changed, "d" * 40, kind="dataset")
    assert read()[0]["validation"] == ["new"]
    pinned = DatasetConfig(id="me/glue", config="cola", revision=COMMIT)
    assert read(pinned)[0] == ROWS
    offline(monkeypatch, hub)
    assert read(pinned)[0] == ROWS
    assert read()[1]["revision"] == "d" * 40


def test_a_split_that_is_not_there_is_named(hub: Hub) -> None:
    hub.shelf.publish("me/glue", glue(), COMMIT, kind="dataset")
    with pytest.raises(GoftError, match=r"has no split validation; found train"):
        read(DatasetConfig(id="me/glue", config="rte"))


def test_other_formats_are_left_to_the_library(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {
        f"{split}.jsonl": "".join(json.dumps({"sentence": text}) + "\n" for text in texts).encode()
        for split, texts in ROWS.items()
    }
    hub.shelf.publish("me/lines", {"README.md": b"no card", **lines}, COMMIT, kind="dataset")
    dataset = DatasetConfig(id="me/lines")
    rows, provenance = read(dataset)
    assert rows == ROWS
    assert capsys.readouterr().err.count("downloading me/lines,") == 1
    assert (provenance["source"], provenance["revision"]) == ("me/lines", COMMIT)
    offline(monkeypatch, hub)
    assert read(dataset) == (rows, provenance)
    assert "downloading" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["me/glue", "me/lines"])
def test_a_fetched_folder_knows_its_commit(name: str, hub: Hub, tmp_path: Path) -> None:
    lines: Files = {f"{split}.jsonl": json.dumps({"sentence": split}).encode() for split in SPLITS}
    files = glue() if name == "me/glue" else lines
    hub.shelf.publish(name, files, COMMIT, kind="dataset")
    dataset = DatasetConfig(id=name, config="cola" if name == "me/glue" else None)
    fetch_data(dataset, SPLITS, tmp_path / "data")
    direct, _ = read_splits(dataset, SPLITS, data_dir=None, layout=Layout())
    tables, provenance = read_splits(
        dataset, SPLITS, data_dir=str(tmp_path / "data"), layout=Layout()
    )
    for split in SPLITS:
        assert list(tables[split].columns["sentence"]) == list(direct[split].columns["sentence"])
    assert provenance["revision"] == COMMIT
    assert provenance["fetched_from"].split()[0] == name


@pytest.mark.parametrize(
    ("card", "config", "found"),
    [
        ("", "cola", None),
        ("---\n- [\n---\n", "cola", None),
        ("---\nconfigs: text\n---\n", "cola", None),
        (CARD, "wnli", None),
        (CARD, None, None),
        (CARD, "rte", {"train": ["rte/train-*"]}),
        ("---\nconfigs:\n- {config_name: a, data_files: x/*}\n---\n", "a", None),
        ("---\nconfigs:\n- {config_name: a, data_files: [x]}\n---\n", "a", None),
        (
            "---\nconfigs:\n- config_name: a\n  data_files:\n  - {split: s, path: p}\n---\n",
            None,
            {"s": ["p"]},
        ),
    ],
)
def test_a_card_says_which_files_hold_a_split_or_nothing(
    card: str, config: str | None, found: object, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    path.write_text(card)
    assert split_patterns(path, config) == found


def test_what_the_library_has_built_serves_when_the_hub_refuses(hub: Hub, tmp_path: Path) -> None:
    cache_dataset(tmp_path / "cache", "me/glue", "cola")
    hub.shelf.publish("me/glue", glue(), COMMIT, kind="dataset")
    hub.shelf.dead_tokens.add(TOKEN)
    rows, provenance = read()
    assert rows == {"train": ["train"], "validation": ["validation"]}
    assert provenance["revision"] == BUILT


def test_a_name_of_the_hub_is_data_of_ones_own(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = [(kind, number) for number in range(8) for kind in "ab"]
    rows = [{"review": f"so {kind} {number}", "stars": kind} for kind, number in pairs]
    entry = "- config_name: default\n  data_files:\n  - {split: train, path: train-*}\n"
    card = f"---\nconfigs:\n{entry}---\n"
    content = io.BytesIO()
    Dataset.from_list(rows).to_parquet(content)
    files = {"README.md": card.encode(), "train-00000-of-00001.parquet": content.getvalue()}
    hub.shelf.publish("me/reviews", files, COMMIT, kind="dataset")
    cfg = compose_train(["task=own/classification", "data=me/reviews", "split=0.25"])
    assert (cfg.task.name, cfg.task.eval_splits) == ("own/reviews", ["validation"])
    data = build_task(cfg.task).load()
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 12, "validation": 4}
    assert data.provenance["revision"] == COMMIT
    offline(monkeypatch, hub)
    assert build_task(cfg.task).load().provenance == data.provenance
    assert fitting_task("me/reviews") == "own/classification"


@pytest.mark.parametrize("ending", [*PARSERS, *map(str.upper, PARSERS)])
def test_a_name_of_a_data_file_is_no_id_of_the_hub(ending: str) -> None:
    assert in_full("train", f"data=data/news{ending}") == f"task.data_dir=data/news{ending}"
    assert in_full("train", f"data=data/news{ending}s") == f"task.dataset.id=data/news{ending}s"

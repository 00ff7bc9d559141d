"""The manifest records each kind of data, and a later change of the data is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from goft_cli.config import (
    DatasetConfig,
    ImageClassificationConfig,
    MMLUConfig,
    TaskConfig,
    TextClassificationConfig,
)
from goft_cli.data import sources
from goft_cli.data.formats import Layout
from goft_cli.data.sources import demo_splits, read_splits
from goft_cli.run.provenance import Change, changes_on_disk, data_changes
from goft_cli.tasks.image_classification import ImageClassification
from goft_cli.tasks.mmlu.questions import read_questions
from tests.support.hub_caches import cache_dataset, turn_to
from tests.support.small_images import write_images

Describe = Callable[[], dict[str, Any]]


def both(recorded: dict[str, Any], describe: Describe, task: TaskConfig) -> list[list[Change]]:
    """Return the changes against data read again, and those against the files alone."""
    manifest = json.loads(json.dumps(recorded))
    return [
        data_changes(manifest, describe(), all_splits=True),
        changes_on_disk(manifest, task),
    ]


@pytest.fixture
def images(tmp_path: Path) -> ImageClassificationConfig:
    folder = write_images(tmp_path / "made-up", {"train": 6, "validation": 4}, 3)
    return ImageClassificationConfig(name="my/made-up", data_dir=str(folder.parent), classes=3)


def test_an_image_that_changed_is_named(images: ImageClassificationConfig) -> None:
    task = ImageClassification(images)
    describe: Describe = lambda: dict(task.load().provenance)  # noqa: E731
    recorded, root = describe(), Path(images.data_dir or "") / "made-up"
    assert both(recorded, describe, images) == [[], []]
    changed = root / "images" / "train" / "000004.jpg"
    changed.write_bytes((root / "images" / "train" / "000001.jpg").read_bytes())
    for changes in both(recorded, describe, images):
        assert [one.name for one in changes] == [str(changed)]
        assert changes[0].recorded != changes[0].found
    changed.unlink()
    (gone,) = changes_on_disk(recorded, images)
    assert (gone.name, gone.found) == (str(changed), None)


def test_a_list_that_changed_is_named_and_not_its_images(images: ImageClassificationConfig) -> None:
    task = ImageClassification(images)
    describe: Describe = lambda: dict(task.load().provenance)  # noqa: E731
    recorded, root = describe(), Path(images.data_dir or "") / "made-up"
    path = root / "train.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    for changes in both(recorded, describe, images):
        assert [one.name for one in changes] == [str(path)]


def saved(folder: Path, names: list[str]) -> None:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=names)})
    for split in ("train", "validation"):
        rows = {"sentence": ["a", "b"], "label": [0, 1]}
        Dataset.from_dict(rows, features=features).save_to_disk(str(folder / split))


def test_the_names_of_labels_are_part_of_a_saved_folder(tmp_path: Path) -> None:
    task = TextClassificationConfig(name="x", data_dir=str(tmp_path), text_columns=["sentence"])
    read = lambda: read_splits(  # noqa: E731
        DatasetConfig(), ["train", "validation"], data_dir=str(tmp_path), layout=Layout()
    )[1]
    saved(tmp_path, ["no", "yes"])
    recorded = read()
    names = {Path(name).name for name in recorded["sha256"]}
    assert names == {"data-00000-of-00001.arrow", "state.json", "dataset_info.json"}
    assert both(recorded, read, task) == [[], []]
    info = tmp_path / "train" / "dataset_info.json"
    info.write_text(info.read_text().replace('"no"', '"never"', 1))
    for changes in both(recorded, read, task):
        assert [one.name for one in changes] == [str(info)]
    early = {"sha256": {k: v for k, v in recorded["sha256"].items() if k.endswith(".arrow")}}
    assert data_changes(recorded | early, read(), all_splits=True) == []


def test_a_subject_more_is_another_benchmark(tmp_path: Path) -> None:
    config = MMLUConfig(name="x", data_dir=str(tmp_path), train_split="dev", headline_split="test")
    for split in ("dev", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"anatomy_{split}.csv").write_text("Why?,a,b,c,d,A\n" * 2)
    read = lambda: dict(read_questions(config).provenance)  # noqa: E731
    recorded = read()
    assert both(recorded, read, config) == [[], []]
    (tmp_path / "test" / "law_test.csv").write_text("Why?,a,b,c,d,A\n" * 2)
    (new,) = data_changes(recorded, read(), all_splits=True)
    assert (new.name, new.recorded) == (str(tmp_path / "test" / "law_test.csv"), None)


def test_rows_of_a_demo_are_compared_by_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = lambda: demo_splits("demo:acceptability", ["train", "validation"])[1]  # noqa: E731
    recorded, real = read(), sources.read_demo
    assert data_changes(recorded, read(), all_splits=True) == []

    def changed(name: str, split: str) -> list[dict[str, Any]]:
        rows = real(name, split)
        return rows[:-1] if split == "train" else rows

    monkeypatch.setattr(sources, "read_demo", changed)
    (one,) = data_changes(recorded, read(), all_splits=True)
    assert one.name == "demo:acceptability/train"


@pytest.fixture
def from_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Describe:
    turn_to(tmp_path, monkeypatch)
    cache_dataset(tmp_path, "some/set", "small")
    dataset = DatasetConfig(id="some/set", config="small")
    splits = ["train", "validation"]
    return lambda: read_splits(dataset, splits, data_dir=None, layout=Layout())[1]


def test_the_hubs_rows_are_those_of_a_revision_in_a_cache(from_hub: Describe) -> None:
    recorded, task = from_hub(), TaskConfig(name="x")
    assert set(recorded["sha256"]) == {"set-train.arrow", "set-validation.arrow"}
    assert both(recorded, from_hub, task) == [[], []]
    path = Path(recorded["cache"]) / "set-train.arrow"
    path.write_bytes(path.read_bytes() + b"\0")
    for changes in both(recorded, from_hub, task):
        assert [one.name for one in changes] == [str(path)]
    elsewhere = recorded | {"cache": "/another/machine"}
    assert both(elsewhere, from_hub, task)[0] == [], "the revision is the same"
    newer = from_hub() | {"revision": "0" * 40}
    assert [one.name for one in data_changes(recorded, newer, all_splits=True)] == [str(path)]
    same_rows = newer | {"sha256": recorded["sha256"]}
    assert data_changes(recorded, same_rows, all_splits=True) == [], "its card alone was changed"
    (other,) = data_changes(recorded, newer | {"sha256": {}}, all_splits=True)
    assert (other.name, other.found) == ("some/set small", "0" * 40)

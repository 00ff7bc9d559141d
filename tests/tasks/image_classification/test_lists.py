"""Image lists, folders and tables are read; faulty ones are refused with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from goft_cli.config import ImageClassificationConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import (
    Split,
)
from goft_cli.tasks.classes import MOST_LISTED, described
from goft_cli.tasks.image_classification import ImageClassification
from tests.support.small_images import write_images

CLASSES = 3
Maker = Callable[..., ImageClassification]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "made-up", {"train": 6, "validation": 4}, CLASSES)


@pytest.fixture
def make(folder: Path) -> Maker:
    """Build a task of three classes that reads the folder; keywords replace its fields."""

    def make(**changes: object) -> ImageClassification:
        fields = {"name": "my/made-up", "data_dir": str(folder), "classes": CLASSES, **changes}
        return ImageClassification(ImageClassificationConfig(**fields))  # pyright: ignore[reportArgumentType] - a mixed dict

    return make


def test_rows_are_the_lines(make: Maker, folder: Path) -> None:
    data = make().load()
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 6, "validation": 4}
    assert data.splits["train"][4] == {"image": "images/train/000004.jpg", "label": 1}
    assert data.provenance["source"] == str(folder)
    assert set(data.provenance["sha256"]) == {"train.txt", "validation.txt"}


def test_the_folder_of_all_tasks_will_do_too(make: Maker, folder: Path) -> None:
    rows = make(data_dir=str(folder.parent)).load_splits(["train"]).splits["train"]
    assert rows.to_list() == make().load_splits(["train"]).splits["train"].to_list()


@pytest.mark.parametrize(
    "written", ["{}\t2\r\n", "\ufeff{}  2\n\n", "  {} 2", "./{} 2\n", "{} 2.0\n", "{} 02"]
)
def test_lines_may_be_written_loosely(written: str, make: Maker, folder: Path) -> None:
    image = "images/train/000000.jpg"
    (folder / "train.txt").write_text(written.format(image), encoding="utf-8", newline="")
    (row,) = make().load_splits(["train"]).splits["train"].to_list()
    assert Path(row["image"]) == Path(image)
    assert row["label"] == 2


def test_a_path_may_hold_blanks(make: Maker, folder: Path) -> None:
    (folder / "images/train/000000.jpg").rename(folder / "images/a 7.jpg")
    (folder / "train.txt").write_text("images/a 7.jpg 1\n")
    assert make().load_splits(["train"]).splits["train"][0]["image"] == "images/a 7.jpg"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{0} 0\n\n{0} 3\n", r"train\.txt, line 3: found class 3, expected one of 0, 1, 2"),
        (b"{0}\n", r"train\.txt, line 1: found no class, expected one of 0, 1, 2"),
        (b"{0} -1\n", r"train\.txt, line 1: there is no image .*000000\.jpg -1"),
        (b"{0} 0\nimages/x.jpg 1\n", r"train\.txt, line 2: there is no image .*x\.jpg; copy"),
        (b" \n", r"train\.txt is empty; expected lines such as images/000000\.jpg 3"),
        (b"\xff\xfe 0\n", r"train\.txt: not UTF-8 text; expected lines such as"),
    ],
)
def test_a_bad_list(content: bytes, sentence: str, make: Maker, folder: Path) -> None:
    image = b"images/train/000000.jpg"
    (folder / "train.txt").write_bytes(content.replace(b"{0}", image))
    with pytest.raises(GoftError, match=sentence):
        make().load()


def test_a_missing_list_is_answered_with_those_there(make: Maker) -> None:
    with pytest.raises(
        GoftError, match=r"train800\.txt: .*the folder has train\.txt, validation\.txt"
    ):
        make(train_split="train800").load()


def test_other_sizes_than_the_benchmarks_are_only_reported(make: Maker) -> None:
    task = make(benchmark_sizes={"train": 800, "validation": 4})
    assert task.size_deviations(task.load()) == {"train": (6, 800)}


def test_what_is_unusual_is_said(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    make().load()
    assert not caplog.messages
    make(classes=5, eval_splits=["validation", "train"], headline_split="train").load()
    assert caplog.messages == ["2 of the 5 classes have no rows"]


def test_picking_on_the_test_split_is_said(
    make: Maker, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "validation.txt").rename(folder / "test.txt")
    make(eval_splits=["test"], headline_split="test").load()
    assert any("the test split picks the checkpoint" in message for message in caplog.messages)


def test_a_draw_of_ones_own_is_no_benchmark(
    make: Maker, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "draw.json").write_text("{}")
    assert make().load().provenance["is_the_benchmark"] is False
    assert any("not the benchmark" in message for message in caplog.messages)


def test_images_to_predict_on_need_no_class(make: Maker, folder: Path) -> None:
    image = folder / "images/train/000001.jpg"
    (folder / "new.txt").write_text("images/train/000001.jpg\nimages/train/000002.jpg 2\n")
    assert make().read(image).to_list() == [{"image": str(image)}]
    both = [{"image": str(image)}, {"image": str(image.with_name("000002.jpg"))}]
    assert make().read(folder / "new.txt").to_list() == both


def test_predicting_on_nothing(make: Maker, folder: Path) -> None:
    with pytest.raises(GoftError, match=r"nowhere\.jpg: cannot be read"):
        make().read(folder / "nowhere.jpg")
    with pytest.raises(GoftError, match=r"images.*input=FILE"):
        make().read_text("a cat")


def test_classes_are_named_by_their_numbers(make: Maker) -> None:
    assert make().model_options()["id2label"] == {0: "0", 1: "1", 2: "2"}


def test_fewer_than_two_classes() -> None:
    with pytest.raises(GoftError, match=r"task\.classes=1 .*2"):
        ImageClassificationConfig(name="one", classes=1)


def test_a_folder_to_predict_on_is_all_pictures_below_it(make: Maker, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for name in ("b/2.png", "b/1.JPG", "a.webp", ".hidden/1.png", "b/.x.png", "b/notes.txt"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(pictures / name, format="png")
    task = make()
    table = task.read_table(pictures)
    names = [str(pictures / name) for name in ("a.webp", "b/1.JPG", "b/2.png")]
    assert table.columns == {"image": names}
    assert task.unlabelled(table).to_list() == [{"image": name} for name in names]
    assert table.place(1).endswith("b/1.JPG")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").write_text("a cat")
    with pytest.raises(GoftError, match=r"others: found no pictures below it"):
        task.read(tmp_path / "others")


@pytest.mark.parametrize("column", ["image", "file_name"])
def test_a_table_of_paths_to_predict_on_keeps_its_columns(
    column: str, make: Maker, folder: Path
) -> None:
    image, task = "images/train/000001.jpg", make()
    (folder / "new.csv").write_text(f"id,{column},note\n7,{image},x\n8,,y\n9,{folder / image},z\n")
    table = task.read_table(folder / "new.csv")
    assert [*table.columns] == ["id", column, "note"]
    paths = list(task.unlabelled(table)["image"])
    assert paths == [str(folder / image), "", str(folder / image)]
    (folder / "new.csv").write_text(f"id,{column}\n7,{image}\n8,nowhere.jpg\n")
    with pytest.raises(GoftError, match=r"new\.csv, line 3: there is no image .*nowhere\.jpg"):
        task.read(folder / "new.csv")
    (folder / "new.csv").write_text("id,picture\n7,x\n")
    with pytest.raises(GoftError, match=r"column image is missing; found 'id', 'picture'"):
        task.read(folder / "new.csv")


def test_a_damaged_picture_to_predict_on_costs_its_own_row_alone(
    make: Maker, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (8, 8), "#f00").save(pictures / name)
    (pictures / "b.png").write_bytes((pictures / "a.png").read_bytes()[:50])
    task, processor = make(), ViTImageProcessorPil(size={"height": 4, "width": 4})
    rows = task.read(pictures)
    images = task.encode(rows, processor)
    assert [*images.broken] == [1]
    assert images[1]["pixel_values"].max() == 0
    found = task.decode(np.eye(CLASSES), Split(rows, images))
    assert [one and one["label"] for one in found] == [0, None, 2]
    labelled = rows.add_column("label", [0, 1, 2])
    with pytest.raises(GoftError, match=r"b\.png: incomplete image"):
        task.encode(labelled, processor)


def test_probabilities_are_those_of_names() -> None:
    shares = np.array([[0.25, 0.75]])
    assert described(shares, []) == [{"label": 1, "score": 0.75}]
    found = {"label": "dog", "score": 0.75, "probabilities": {"cat": 0.25, "dog": 0.75}}
    assert described(shares, ["cat", "dog"]) == [found]
    many = [str(place) for place in range(MOST_LISTED + 1)]
    assert described(np.eye(len(many))[:1], many) == [{"label": "0", "score": 1.0}]

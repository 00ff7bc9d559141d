"""The user's own images are read from class folders or a table; broken images are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from goft_cli.config import ImageClassificationConfig
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.own_images import find_images, images_there, moved, read_images, read_own_images
from goft_cli.run.trained import whole_place
from goft_cli.system.errors import GoftError

COLOURS = {"cats": "red", "dogs": "blue"}


def fill(folder: Path, count: int = 10) -> Path:
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (4, 4), colour).save(folder / name / f"{number} x.png")
    return folder


def config(place: Path, **own: object) -> ImageClassificationConfig:
    return ImageClassificationConfig(
        name="own/pets",
        data_dir=str(place),
        own=OwnDataConfig(**own),  # pyright: ignore[reportArgumentType] - of the fields' types
        classes=2,
        labels=[*COLOURS],
        eval_splits=["validation"],
    )


def read(place: Path, **own: object) -> tuple[dict[str, list[tuple[str, str]]], dict[str, object]]:
    task = config(place, **own)
    assert task.own is not None
    tables, found = read_own_images(task, task.own, ["train", "validation"])
    rows = {
        split: list(zip(table.columns["image"], table.columns["label"], strict=True))
        for split, table in tables.items()
    }
    return rows, found


def test_each_class_gives_its_share(tmp_path: Path) -> None:
    rows, found = read(fill(tmp_path / "pets"), split=0.2)
    assert len(rows["validation"]) == 4
    assert {label for _, label in rows["validation"]} == {*COLOURS}
    assert len({*rows["train"]} | {*rows["validation"]}) == 20
    assert all(image.startswith(f"{label}/") for image, label in rows["train"])
    assert found["sha256"].keys() == {image for part in rows.values() for image, _ in part}  # pyright: ignore[reportAttributeAccessIssue] - a mapping


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "Val", 3)
    assert {*find_images(tmp_path, OwnDataConfig())} == {"train", "validation"}
    rows, _ = read(tmp_path)
    assert [len(rows[split]) for split in ("train", "validation")] == [20, 6]


def test_a_table_names_paths_relative_to_itself(tmp_path: Path) -> None:
    fill(tmp_path / "pets")
    lines = ["file_name,kind", *(f"pets/cats/{n} x.png,{'ab'[n % 2]}" for n in range(6))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    table = read_images(tmp_path / "list.csv")
    assert [*table.columns["label"]] == ["a", "b"] * 3
    assert all(Path(path).is_file() for path in table.columns["image"])


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (fill(tmp_path / "pets") / "dogs" / "bad.jpg").write_bytes(content)
    with pytest.raises(GoftError, match=r"dogs/bad\.jpg"):
        read_images(tmp_path / "pets")


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    (folder / "dogs" / "notes.txt").write_text("x")
    (folder / "dogs" / "._hidden.png").write_text("x")
    (folder / "empty").mkdir()
    shutil.copytree(folder / "cats", folder / ".ipynb_checkpoints")
    table = read_images(folder)
    assert len(table) == 20
    assert {*table.columns["label"]} == {*COLOURS}


def test_images_that_are_added_are_seen(tmp_path: Path) -> None:
    task = config(fill(tmp_path / "pets"))
    assert task.own is not None
    Image.new("RGB", (4, 4)).save(tmp_path / "pets" / "cats" / "new.png")
    assert "cats/new.png" in images_there(task, task.own)


@pytest.mark.parametrize("name", ["nonesuch", "empty"])
def test_a_place_without_classes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GoftError, match="a folder for each class"):
        read_images(find_images(tmp_path / name, OwnDataConfig())["train"])


def test_other_data_is_scored_whole_and_moved_data_is_divided(tmp_path: Path) -> None:
    first, other = fill(tmp_path / "pets"), fill(tmp_path / "more", 3)
    Image.new("RGB", (4, 4), "green").save(other / "cats" / "green.png")
    task, (_, found) = config(first), read(first)
    manifest = {"data": found}
    assert whole_place(task, str(other), manifest) == other
    moved = first.rename(tmp_path / "elsewhere")
    assert whole_place(task, str(moved), manifest) is None
    (other / "train").mkdir()
    (other / "cats").rename(other / "train" / "cats")
    fill(other / "validation", 2)
    assert whole_place(task, str(other), manifest) is None


def test_a_validation_folder_moves_with_its_data(tmp_path: Path) -> None:
    train, held = fill(tmp_path / "pets"), fill(tmp_path / "held", 2)
    task = config(train, validation="gone/held")
    assert task.own is not None
    assert find_images(train, moved(task, task.own, train))["validation"] == held

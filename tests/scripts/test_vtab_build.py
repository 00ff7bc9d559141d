"""Test the folders built from the original data sets, with small files in their layouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from goft_cli.system.errors import GoftError
from goft_cli.tasks.image_classification.lists import checked_rows, read_list
from scripts import build_vtab
from scripts.vtab import arrays, files
from scripts.vtab.build import PUBLISHED_ONLY, SOURCES, build
from scripts.vtab.layout import Example, Pools, draw
from tests.support.recipe_cells import CHOICES

RANDOM = np.random.default_rng(0)


def labels(examples: Sequence[Example]) -> list[int]:
    return [example.label for example in examples]


def paths(examples: Sequence[Example]) -> list[str]:
    return ["/".join(Path(str(example.image)).parts[-2:]) for example in examples]


def cifar_records(count: int) -> tuple[np.ndarray, bytes]:
    """Return images, and their bytes in CIFAR-100's binary format with fine classes 0, 1, 2 ..."""
    images = RANDOM.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    classes = np.arange(count, dtype=np.uint8)[:, None] % 100
    return images, np.hstack([np.full_like(classes, 19), classes, planes]).tobytes()


def test_every_task_is_built_or_has_a_reason() -> None:
    names = {task.removeprefix("vtab/") for task in CHOICES["task"] if task.startswith("vtab/")}
    assert SOURCES.keys() | PUBLISHED_ONLY.keys() == names
    assert not SOURCES.keys() & PUBLISHED_ONLY.keys()


def test_cifar_takes_the_fine_class_and_the_three_planes(tmp_path: Path) -> None:
    images, content = cifar_records(3)
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(content)
    pools = arrays.cifar(tmp_path)
    assert labels(pools.train) == labels(pools.test) == [0, 1, 2]
    for example, image in zip(pools.train, images, strict=True):
        np.testing.assert_array_equal(np.asarray(example.image), image)
    (tmp_path / "test.bin").write_bytes(content[:-1])
    with pytest.raises(GoftError, match=r"test\.bin: 9221 bytes"):
        arrays.cifar(tmp_path)


def test_svhn_calls_the_tenth_class_zero(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(tmp_path / name, {"X": images, "y": np.array([[1], [10], [9], [10]])})
    pools = arrays.svhn(tmp_path)
    assert labels(pools.train) == [1, 0, 9, 0]
    assert np.array_equal(np.asarray(pools.test[2].image), images[..., 2])
    (tmp_path / "test_32x32.mat").write_bytes(b"not MATLAB")
    with pytest.raises(GoftError, match=r"test_32x32\.mat: .*truncated"):
        arrays.svhn(tmp_path)


def test_dtd_numbers_its_folders_by_the_alphabet(tmp_path: Path) -> None:
    for name in ("zigzagged", "banded", "dotted"):
        (tmp_path / "images" / name).mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    lines = {"train1": "dotted/a.jpg", "val1": "banded/b.jpg", "test1": "zigzagged/c.jpg"}
    for name, line in lines.items():
        (tmp_path / "labels" / f"{name}.txt").write_text(line + "\n")
    pools = files.dtd(tmp_path)
    found = [pools.train, pools.validation, pools.test]
    assert [labels(pool) for pool in found] == [[1], [0], [2]]
    assert paths(pools.test) == ["zigzagged/c.jpg"]


def test_flowers_count_from_one(tmp_path: Path) -> None:
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[77, 1, 102]])})
    savemat(tmp_path / "setid.mat", {"trnid": [[3]], "valid": [[1]], "tstid": [[2, 1]]})
    pools = files.flowers(tmp_path)
    assert [labels(pool) for pool in (pools.train, pools.validation, pools.test)] == [
        [101],
        [76],
        [0, 76],
    ]
    assert paths(pools.test) == ["jpg/image_00002.jpg", "jpg/image_00001.jpg"]


def test_pets_are_told_by_breed(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split, line in {"trainval": "Bombay_7 8 1 3", "test": "pug_2 26 2 18"}.items():
        (tmp_path / "annotations" / f"{split}.txt").write_text(f"{line}\n")
    pools = files.pets(tmp_path)
    assert (labels(pools.train), labels(pools.test)) == ([7], [25])
    assert paths(pools.train) == ["images/Bombay_7.jpg"]


# VTAB's distance is the index of the last of (0, 8, 8.5, 9, 9.5, 10, 100) below the least depth.
@pytest.mark.parametrize(
    ("depths", "count", "distance"),
    [
        ([12.0, 7.9, 9.0], 0, 0),
        ([8.0, 8.0, 8.0, 8.0], 1, 0),
        ([8.1, 8.6, 8.1], 0, 1),
        ([9.5, 9.5, 9.5, 9.5, 9.5], 2, 3),
        ([10.0] * 10, 7, 4),
        ([10.5, 11.0, 30.0], 0, 5),
    ],
)
def test_clevr_counts_objects_and_measures_the_nearest(
    depths: list[float], count: int, distance: int, tmp_path: Path
) -> None:
    (tmp_path / "scenes").mkdir()
    objects = [{"pixel_coords": [1, 2, depth]} for depth in depths]
    for split in ("train", "val"):
        scenes = {"scenes": [{"image_filename": f"CLEVR_{split}_0.png", "objects": objects}]}
        (tmp_path / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps(scenes))
    assert labels(files.clevr_count(tmp_path).train) == [count]
    pools = files.clevr_dist(tmp_path)
    assert labels(pools.test) == [distance]
    assert paths(pools.test) == ["val/CLEVR_val_0.png"]


def damage_dtd(folder: Path) -> None:
    (folder / "images" / "banded").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "labels" / "train1.txt").write_text("bandaged/a.jpg\n")


def damage_flowers(folder: Path) -> None:
    savemat(folder / "imagelabels.mat", {"labels": np.array([[77]])})
    savemat(folder / "setid.mat", {"trnid": [[2]], "valid": [[1]], "tstid": [[1]]})


def damage_pets(folder: Path) -> None:
    (folder / "annotations").mkdir()
    (folder / "annotations" / "trainval.txt").write_text("Bombay_7\n")


def damage_clevr(folder: Path) -> None:
    (folder / "scenes").mkdir()
    (folder / "scenes" / "CLEVR_train_scenes.json").write_text('{"info": {}}')


@pytest.mark.parametrize(
    ("damage", "read", "sentence"),
    [
        (damage_dtd, files.dtd, r"train1\.txt: not as published .*bandaged"),
        (damage_flowers, files.flowers, r"setid\.mat: not as published .*out of bounds"),
        (damage_pets, files.pets, r"trainval\.txt: not as published .*not enough values"),
        (damage_clevr, files.clevr_count, r"train_scenes\.json: not as published \('scenes'\)"),
    ],
)
def test_an_original_that_is_damaged(
    damage: Callable[[Path], None],
    read: Callable[[Path], Pools],
    sentence: str,
    tmp_path: Path,
) -> None:
    damage(tmp_path)
    with pytest.raises(GoftError, match=f"{sentence}.*; unpack the original again"):
        read(tmp_path)


def pool(start: int, count: int) -> list[Example]:
    return [Example(Path(str(index)), index) for index in range(start, start + count)]


def test_the_draw_is_repeatable_and_never_overlaps() -> None:
    pools = Pools(train=pool(0, 1500), test=pool(5000, 3))
    splits = draw(pools, seed=0)
    train, validation = set(labels(splits["train800"])), set(labels(splits["val200"]))
    assert (len(train), len(validation), len(train & validation)) == (800, 200, 0)
    assert labels(splits["test"]) == [5000, 5001, 5002]
    assert draw(pools, seed=0) == splits
    assert draw(pools, seed=1) != splits


def test_images_to_validate_on_are_used_where_there_are_any() -> None:
    splits = draw(Pools(pool(0, 1020), pool(5000, 3), validation=pool(2000, 300)), seed=0)
    assert min(labels(splits["val200"])) >= 2000
    assert max(labels(splits["train800"])) < 1020


def test_too_few_images() -> None:
    with pytest.raises(GoftError, match=r"800 .* 99"):
        draw(Pools(pool(0, 899), pool(5000, 3)), seed=0)


def test_a_folder_is_built_that_the_task_reads(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "cifar"
    source.mkdir()
    images, content = cifar_records(1000)
    (source / "train.bin").write_bytes(content)
    (source / "test.bin").write_bytes(content[: 3 * arrays.CIFAR_RECORD])
    assert build("cifar", source, output) == {"train800": 800, "val200": 200, "test": 3}
    lists = {path.stem: read_list(path) for path in output.glob("*.txt")}
    rows = {
        split: checked_rows(table, [*map(str, range(100))], named=False)
        for split, table in lists.items()
    }
    both = [*rows["train800"]["image"], *rows["val200"]["image"]]
    assert list(rows["train800val200"]["image"]) == both
    assert list(rows["test"]["label"]) == [0, 1, 2]
    with Image.open(output / "images/test/000001.jpg") as image:
        error = np.asarray(image, dtype=float) - images[1]
    assert np.abs(error).mean() < 64  # JPEG is lossy; another image would differ by 85
    assert json.loads((output / "draw.json").read_text()) == {"task": "cifar", "seed": 0}
    with pytest.raises(GoftError, match="the folder is not empty"):
        build("cifar", source, output)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("dmlab", "vtab/dmlab cannot be built here: .*TFRecords.*; use the published folder"),
        ("mnist", "vtab/mnist: no such task; expected one of cifar, svhn"),
        ("svhn", r"train_32x32\.mat: cannot be read .*; pass the folder of the unpacked original"),
    ],
)
def test_what_cannot_be_built(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=sentence):
        build(name, tmp_path, tmp_path / "output")


def test_the_script_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_vtab.main(["kitti", str(tmp_path), str(tmp_path / "kitti")])
    assert capsys.readouterr().err.startswith("build_vtab: vtab/kitti cannot be built here")

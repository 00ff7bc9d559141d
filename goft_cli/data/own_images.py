"""The user's own images: a folder for each class, or a table with a path and a label per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from goft_cli.config import HELD_OUT, ImageClassificationConfig, TaskConfig
from goft_cli.config.labels import level
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.columns import described, find_label
from goft_cli.data.files import VALIDATION, read_file
from goft_cli.data.formats import Layout
from goft_cli.data.own import OF_A_RUN, TEST, TRAIN, below, find_files, in_splits
from goft_cli.data.table import Table
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.files import IMAGE, LABEL

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
"""Suffixes of image files; other files are ignored."""
PATHS = ("image", "file_name", "filename", "image_path", "path", "file", "img")
"""Names of a column of paths, the most telling first."""
FOLDERS = {TRAIN: ("train", "training"), HELD_OUT: VALIDATION, TEST: ("test",)}


def find_images(place: Path, own: OwnDataConfig) -> dict[str, Path]:
    """Return the folder or the table of each split that exists.

    `place` has a folder for each class, or folders `train`, and optionally `validation` and `test`,
    that do.
    """
    if not place.exists():
        raise GoftError(
            f"data={place}: it does not exist",
            "pass a folder with a folder for each class",
        )
    there = {level(path.name): path for path in place.iterdir()} if place.is_dir() else {}
    found = {
        split: there[name]
        for split, names in FOLDERS.items()
        for name in names
        if name in there and there[name].is_dir()
    }
    if TRAIN not in found:
        found = {TRAIN: place}
    if own.validation is not None:
        found[HELD_OUT] = Path(own.validation).expanduser()
        if not found[HELD_OUT].exists():
            raise GoftError(
                f"validation={own.validation}: nothing there", f"pass a folder or table{OF_A_RUN}"
            )
    return found


def moved(task: TaskConfig, own: OwnDataConfig, place: Path) -> OwnDataConfig:
    """Return how data that is in another place now becomes splits.

    The validation file has its old name there or beside it; else the place's own split counts.
    """
    name = Path(own.validation or "").name
    there = [path for path in (place / name, place.parent / name) if name and path.exists()]
    if there:
        return replace(own, validation=str(there[0]))
    find = find_images if isinstance(task, ImageClassificationConfig) else find_files
    has_split = HELD_OUT in find(place, OwnDataConfig())
    return replace(own, validation=None) if has_split else own


def read_images(place: Path) -> Table:
    """Return a table of paths and the names of classes; every file is an image."""
    if place.is_file():
        table = listed(place)
    else:
        rows = in_classes(place)
        if not rows:
            raise GoftError(
                f"data={place}: found no folder with images in it",
                "expected a folder for each class, or pass a table with the columns image and "
                "label",
            )
        columns = {IMAGE: [str(path) for path, _ in rows], LABEL: [name for _, name in rows]}
        names = [path.relative_to(place).as_posix() for path, _ in rows]
        table = Table(str(place), columns, names=names)
    for index, path in enumerate(table.columns[IMAGE]):
        refuse_no_image(Path(path), table.place(index))
    return table


def in_classes(folder: Path) -> list[tuple[Path, str]]:
    """Return each image of a folder of classes, with the name of its class; none is hidden."""
    folders = (path for path in folder.iterdir() if path.is_dir())
    classes = sorted(path for path in folders if not path.name.startswith("."))
    return [(path, one.name) for one in classes for path in pictures(one)]


def images_there(config: ImageClassificationConfig, own: OwnDataConfig) -> list[str]:
    """Return the images now in the folders of classes, by their paths in the manifest."""
    places = find_images(config.place, own).values()
    root = (config.folder or Path()).resolve()
    return [below(path, root) for one in places if one.is_dir() for path, _ in in_classes(one)]


def pictures(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, sorted by path, without hidden files."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def listed(file: Path) -> Table:
    """Read a table of paths, relative to its folder, and labels."""
    table = read_file(file, Layout())
    names = {level(name): name for name in table.columns}
    column = next((names[name] for name in PATHS if name in names), None)
    if column is None:
        raise GoftError(
            f"{file}: the table has no column of paths; found {described(table)}",
            f"call it {PATHS[0]} or {PATHS[1]}",
        )
    chosen = find_label(table, [column], "call it label")
    paths = [str(file.parent.resolve() / str(path)) for path in table.columns[column]]
    columns = {IMAGE: paths, LABEL: list(table.columns[chosen])}
    return Table(str(file), columns, table.lines, label_names=table.label_names)


def refuse_no_image(path: Path, place: str) -> None:
    """Refuse a file that is missing, or whose first bytes are not those of an image."""
    try:
        with Image.open(path):
            return
    except (OSError, SyntaxError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else "no image"
        raise GoftError(
            f"{place}: {path} cannot be read ({found})", "remove it or copy it again"
        ) from None


def read_own_images(
    config: ImageClassificationConfig, own: OwnDataConfig, splits: Sequence[str]
) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return tables by split, with paths below the task's folder, and each image's SHA-256."""
    root = (config.folder or Path()).resolve()
    places = find_images(config.place, own)
    sha256: dict[str, str] = {}

    def read(split: str) -> Table:
        table = read_images(places[split])
        paths = [Path(path) for path in table.columns[IMAGE]]
        sha256.update({below(path, root): value for path, value in digests(paths).items()})
        images = [below(path, root) for path in paths]
        return replace(table, columns={**table.columns, IMAGE: images})

    tables, rows = in_splits(config, own, splits, places, read)
    return tables, {"source": str(root), "sha256": sha256, **rows}

"""Lists of images: one `relative/path class` per line, the layout of the public VTAB-1K folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, Value

from goft_cli.config.labels import Labels
from goft_cli.data.columns import aliases_of
from goft_cli.data.files import STDIN, read_input
from goft_cli.data.formats import PARSERS, Layout
from goft_cli.data.own_images import PATHS, pictures
from goft_cli.data.table import Table, require_columns, texts
from goft_cli.system.digests import digests, image_digests, numbered_lines
from goft_cli.system.errors import GoftError
from goft_cli.system.files import IMAGE, LABEL, refuse_no_file

DRAW = "draw.json"
"""File in a folder whose images are not the published ones; it says how they were drawn."""


def read_lists(folder: Path, splits: Sequence[str]) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return a table for each `<split>.txt`, and for the manifest the SHA-256 of lists and images.

    If the folder has a `draw.json`, the manifest says that this is not the benchmark.
    """
    lists = {split: folder / f"{split}.txt" for split in splits}
    tables = {split: read_list(path) for split, path in lists.items()}
    provenance: dict[str, Any] = {
        "source": str(folder.resolve()),
        "sha256": {path.name: digest for path, digest in digests(lists.values()).items()},
        "images": {path.name: image_digests(path) for path in lists.values()},
    }
    if (folder / DRAW).is_file():  # its sizes are the benchmark's, but its images are others
        provenance["is_the_benchmark"] = False
    return tables, provenance


def read_list(path: Path) -> Table:
    """Read one list; where a line has no class, its label is None."""
    lines = numbered_lines(path)
    columns = {name: [line[name] for line in lines.values()] for name in (IMAGE, LABEL)}
    table = Table(str(path), columns, list(lines))
    require_images(table, path.parent)
    return table


def require_images(table: Table, folder: Path) -> None:
    """Refuse a list that names a missing file."""
    for index, name in enumerate(table.columns[IMAGE]):
        refuse_no_file(folder / name)
        if not (folder / name).is_file():
            raise GoftError(
                f"{table.place(index)}: there is no image {folder / name}", "copy the folder whole"
            )


def read_pictures(path: Path) -> Table:
    """Read a table or a list with a column `image`, or make one of an image or a folder of images.

    `-` is stdin: a path per line, or JSON lines. A folder is searched with its subfolders.
    """
    path = path.expanduser()
    if str(path) == STDIN or path.suffix.lower() in PARSERS:
        table = read_input(path, Layout(), IMAGE)
        require_columns(with_image(table), [IMAGE], "rename the column with the paths")
        return table
    if path.is_dir():
        names = [str(found) for found in pictures(path)]
        if not names:
            raise GoftError(f"{path}: found no pictures below it", "expected .jpg, .png and so on")
        return Table(str(path), {IMAGE: names}, names=names)
    if path.suffix.lower() == ".txt" or not path.is_file():
        table = read_list(path)
        labelled = any(label is not None for label in table.columns[LABEL])
        return table if labelled else replace(table, columns={IMAGE: table.columns[IMAGE]})
    return Table("input", {IMAGE: [str(path)]}, names=[str(path)])


def with_image(table: Table) -> Table:
    """Rename the column of paths in a user's table to `image`."""
    return table.renamed(aliases_of(table, {IMAGE: PATHS}))


def unlabelled_rows(table: Table) -> Dataset:
    """Make rows of the paths in a table, which are relative to it or to the working folder.

    The result has absolute paths; a row without a path has an empty one.
    """
    table = with_image(table)
    folder, paths = Path(table.origin).parent, []
    for index, name in enumerate(texts(table, IMAGE, or_gap=True)):
        beside = (folder / name).resolve()
        path = beside if beside.is_file() else Path(name).resolve()
        if name.strip():
            refuse_no_file(path)
        if name.strip() and not path.is_file():
            raise GoftError(f"{table.place(index)}: there is no image {beside}", "correct the path")
        paths.append(str(path) if name.strip() else "")
    if not paths:
        raise GoftError(f"{table.origin}: no rows", "expected at least one picture")
    return Dataset.from_dict({IMAGE: paths})


def checked_rows(table: Table, names: Sequence[str], *, named: bool) -> Dataset:
    """Make rows of a table, each with the id of a class, whose names are in the order of ids.

    With `named` the rows carry the names, too.
    """
    known, labels = Labels(names), []
    for index, value in enumerate(table.named(LABEL)):
        label = known.id_of(value)
        if label is None:
            raise GoftError(
                f"{table.place(index)}: found "
                f"{'no class' if value is None else f'class {value}'}, expected {known.expected}",
                "correct the line, or the task's classes",
            )
        labels.append(label)
    kind = ClassLabel(names=[*names]) if named else Value("int64")
    features = Features({IMAGE: Value("string"), LABEL: kind})
    return Dataset.from_dict({IMAGE: table.columns[IMAGE], LABEL: labels}, features=features)

"""Lists of images: one `relative/path class` per line, the layout of the public VTAB-1K folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, Value

from goft_cli.config.labels import Labels
from goft_cli.data.table import Table
from goft_cli.system.digests import digests, image_digests
from goft_cli.system.errors import GoftError
from goft_cli.system.files import IMAGE, LABEL, numbered_lines, refuse_no_file

DRAW = "draw.json"
"""Present in a folder whose images are not the published choice; says how they were drawn."""


def read_lists(folder: Path, splits: Sequence[str]) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return a table for each `<split>.txt`, and for the manifest the SHA-256 of lists and images.

    Where the folder says so, the manifest has it that this is not the benchmark.
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
    """Refuse a list that names a file which is not there."""
    for index, name in enumerate(table.columns[IMAGE]):
        refuse_no_file(folder / name)
        if not (folder / name).is_file():
            raise GoftError(
                f"{table.place(index)}: there is no image {folder / name}", "copy the folder whole"
            )


def unlabelled_rows(path: Path) -> Dataset:
    """Make rows of a list, classes left out, or of one image; they name files absolutely."""
    path = path.expanduser()
    if path.suffix.lower() == ".txt" or not path.is_file():
        names = [str((path.parent / name).resolve()) for name in read_list(path).columns[IMAGE]]
    else:
        names = [str(path.resolve())]
    return Dataset.from_dict({IMAGE: names})


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

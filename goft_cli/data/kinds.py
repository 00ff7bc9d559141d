"""Finds the task that fits a user's own data, by its files and the names of its columns."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from goft_cli.config.labels import identity, level
from goft_cli.config.task import DatasetConfig, OwnDataConfig
from goft_cli.data.cells import read_list
from goft_cli.data.columns import FEW_CLASSES, find_label, find_text
from goft_cli.data.files import read_shards
from goft_cli.data.formats import Layout
from goft_cli.data.own import find_files
from goft_cli.data.own_images import PATHS, in_classes
from goft_cli.data.sources import read_splits
from goft_cli.data.squad import read_document
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError

ANSWERS = {"answer", "answers"}
KINDS = (
    ("own/chat", ({"messages", "conversations"},)),
    ("own/tokens", ({"tokens", "words"}, {"tags", "ner_tags", "pos_tags", "labels"})),
    ("own/qa", ({"context", "passage", "paragraph"}, {"question", "query"}, ANSWERS)),
    ("own/instruction", ({"instruction"}, {"output", "response"})),
    ("own/instruction", ({"prompt", "question", "query"}, {"completion", "response", *ANSWERS})),
    ("own/images", ({*PATHS}, {"label", "class", "category", "target"})),
)
"""Tasks, and the accepted names of each of their columns."""


def fitting_task(place: str) -> str:
    """Return the task whose rows a file or folder holds, such as `own/classification`."""
    path = Path(place).expanduser()
    if path.is_dir() and in_classes(path):
        return "own/images"
    table = table_in(path) if path.exists() or path.suffix else table_of_hub(place)
    names = {level(name) for name in table.columns}
    for task, wanted in KINDS:
        if all(names & known for known in wanted):
            return task
    return task_of_labels(table)


def table_in(path: Path) -> Table:
    """Return the training rows in a file or folder."""
    files = find_files(path, OwnDataConfig())["train"]
    document = read_document if is_object(files[0]) else None
    return read_shards(files, Layout(document=document))[0]


def table_of_hub(name: str) -> Table:
    """Return the training rows of a dataset of the hub."""
    return read_splits(DatasetConfig(id=name), ["train"], None, Layout())[0]["train"]


def is_object(file: Path) -> bool:
    """Tell SQuAD's JSON, one object, from JSON lines: its first line is not a whole object."""
    if file.suffix.lower() != ".json":
        return False
    try:
        with file.open(encoding="utf-8") as lines:
            first = next(lines, "").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return first.startswith("{") and ('"paragraphs"' in first or not first.endswith("}"))


def is_set(cell: object) -> bool:
    """Tell whether a cell holds a set of labels: a list, or `a;b`."""
    found = read_list(cell)
    return isinstance(found, list) or (isinstance(found, str) and ";" in found)


def task_of_labels(table: Table) -> str:
    """Return the task of texts with labels; regression if the labels are many numbers."""
    try:
        label = find_label(table, find_text(table, None))
    except GoftError:
        return "own/classification"  # this task's error lists the columns
    cells = list(table.columns[label])
    if any(map(is_set, cells)):
        return "own/multilabel"
    found = {identity(value) for value in cells if isinstance(value, str | int | float | Decimal)}
    numbers = [value for value in found if isinstance(value, Decimal)]
    measured = len(numbers) > FEW_CLASSES or any(value != int(value) for value in numbers)
    return "own/regression" if measured and len(numbers) == len(found) else "own/classification"

"""The user's own data: its files, and the rows that are held out for validation.

The choice of rows depends on the seed and on each row's position, not on a library's version.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from datasets import ClassLabel, Dataset

from goft_cli.config import HELD_OUT, TaskConfig
from goft_cli.config.labels import identity
from goft_cli.config.task import TUNING, TUNING_SHARE, OwnDataConfig
from goft_cli.data.columns import require_column
from goft_cli.data.files import SAVED, VALIDATION, find_split, read_shards
from goft_cli.data.formats import PARSERS, Layout
from goft_cli.data.table import Table, is_gap
from goft_cli.system.errors import GoftError

logger = logging.getLogger(__name__)

TRAIN, TEST = "train", "test"
RowsT = TypeVar("RowsT", Table, Dataset)
OF_A_RUN = "; for a finished run, pass data_dir=FOLDER with its data"
"""Remedy if a run's validation rows are not where they were."""
SHOWN = 8
"""Most classes named in a message."""
SPLITS = "dataset_dict.json"
"""The names of the splits that save_to_disk wrote beside it."""
ROWS = "held_out"
"""Key in a manifest's data section: the numbers of the held-out rows."""


def find_files(place: Path, own: OwnDataConfig) -> dict[str, list[Path]]:
    """Return the files of each split: `train`, and `validation` and `test` if they exist.

    `place` is one file, or a folder with train.*, validation.* (or dev, valid, val) and test.*, or
    a folder with one file.
    """
    found = {TRAIN: [place]} if place.is_file() else files_in(place)
    if own.validation is not None:
        path = Path(own.validation).expanduser()
        if not path.is_file():
            raise GoftError(
                f"validation={own.validation}: no such file", f"pass a file of rows{OF_A_RUN}"
            )
        found[HELD_OUT] = [path]
    return found


def files_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split in a folder."""
    if not folder.is_dir():
        raise GoftError(
            f"data={folder}: it does not exist",
            "pass a file such as reviews.csv, or a folder",
        )
    if (folder / SAVED).is_file():
        return {TRAIN: [folder]}
    found = {split: find_split(folder, split) for split in (TRAIN, HELD_OUT, TEST)}
    if found[TRAIN]:
        return {split: paths for split, paths in found.items() if paths}
    files = (path for path in folder.iterdir() if path.name != SPLITS)
    tables = sorted(path for path in files if path.suffix.lower() in PARSERS)
    if len(tables) != 1:
        names = ", ".join(path.name for path in sorted(folder.iterdir())[:8]) or "nothing"
        raise GoftError(
            f"data={folder}: found {names}, expected train.* and optionally {VALIDATION[0]}.* and "
            f"{TEST}.*, or one file, as {', '.join(PARSERS)}",
            "pass the file itself",
        )
    return {TRAIN: tables}


def read_own(
    config: TaskConfig,
    own: OwnDataConfig,
    splits: Sequence[str],
    layout: Layout,
    convert: Callable[[Table], Table] | None,
) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return tables by split, and the place and SHA-256 of every file for the manifest."""
    files = find_files(config.place, own)
    root = (config.folder or Path()).resolve()
    sha256: dict[str, str] = {}

    def read(split: str) -> Table:
        table, read = read_shards(files[split], layout)
        sha256.update({below(path, root): value for path, value in read.items()})
        table = table.renamed(getattr(config, "column_aliases", {}))
        return convert(table) if convert else table

    tables, rows = in_splits(config, own, splits, files, read)
    return tables, {"source": str(root), "sha256": sha256, **rows}


def below(path: Path, root: Path) -> str:
    """Return a file's path relative to a folder, or its whole path if it is not in it."""
    whole = path.resolve()
    return whole.relative_to(root).as_posix() if root in whole.parents else str(whole)


def in_splits(
    config: TaskConfig,
    own: OwnDataConfig,
    splits: Sequence[str],
    places: Collection[str],
    read: Callable[[str], RowsT],
) -> tuple[dict[str, RowsT], dict[str, Any]]:
    """Return the rows of splits, and under `ROWS` the numbers of the held-out rows.

    If there are no validation rows, a share of the training rows is held out: stratified by class
    in a table, but not in a Dataset, whose columns may not fit into memory.
    """
    # the later runs are never scored on tuning rows
    divided = HELD_OUT not in places and bool({HELD_OUT, TUNING} & {*config.used_splits})
    stored = dict.fromkeys(TRAIN if divided and name == HELD_OUT else name for name in splits)
    if missing := [name for name in stored if name not in places]:
        raise GoftError(
            f"data={config.data_dir}: found no {missing[0]} split there, only {', '.join(places)}",
            "choose others with task.eval_splits=[...]",
        )
    tables, chosen = {name: read(name) for name in stored}, {}
    if divided and TRAIN in tables:
        whole = tables.pop(TRAIN)
        if isinstance(whole, Table):
            group = own.group or kept_together(whole, config.together)
            rows = held_out(whole, replace(own, group=group), config.strata)
        else:
            rows = held_out(Table("", {ROWS: range(len(whole))}), own, None)
        rest = sorted({*range(len(whole))} - {*rows})
        tables |= {TRAIN: whole.select(rest), HELD_OUT: whole.select(rows)}
        chosen = {ROWS: {HELD_OUT: [row + 1 for row in rows]}}
    return {name: tables[name] for name in splits}, chosen


def with_tuning(
    config: TaskConfig, splits: Mapping[str, Dataset], names: Sequence[str]
) -> Mapping[str, Dataset]:
    """Return the named splits; if `tuning` is one of them, its rows are removed from training.

    `held_out` chooses them.
    """
    name = config.train_split
    if TUNING not in config.eval_splits or name not in splits:
        return splits
    rows = splits[name]
    told = [column for column in (config.strata, config.together) if column in rows.column_names]
    table = Table(name, {ROWS: range(len(rows)), **{one: rows[one] for one in told if one}})
    group = kept_together(table, config.together)
    chosen = held_out(table, OwnDataConfig(split=TUNING_SHARE, group=group), config.strata)
    rest = sorted({*range(len(rows))} - {*chosen})
    found = {**splits, name: rows.select(rest), TUNING: rows.select(chosen)}
    return {split: found[split] for split in names}


def kept_together(table: Table, column: str | None) -> str | None:
    """Return the default column of groups, if it has several values."""
    return column if column and len({*table.columns.get(column, ())}) > 1 else None


def held_out(table: Table, own: OwnDataConfig, strata: str | None) -> list[int]:
    """Return the sorted rows to hold out: the share of each class, in whole groups.

    Rows or groups are tried in the order of a digest of the seed and their position. One is held
    out if its classes have not reached their share yet.
    """
    rows = range(len(table))
    if len(rows) < 2:
        raise GoftError(
            f"{table.origin}: found {len(rows)} row, expected at least 2, one for validation",
            "pass more rows",
        )
    # without a column of classes, all rows are one class
    values = table.columns.get(strata) if strata else None
    classes = [""] * len(rows) if values is None else [str(identity(one)) for one in values]
    groups: dict[object, list[int]] = {}
    for index, key in zip(rows, grouped(table, own.group), strict=True):
        groups.setdefault(key, []).append(index)
    if len(groups) < 2 and own.group is not None:
        raise GoftError(
            f"group={own.group}: all rows of {table.origin} are one group",
            "name another column",
        )
    wanted = shares(Counter(classes), own.split)
    chosen: list[int] = []
    for key in sorted(groups, key=lambda key: digest(own.seed, key)):
        found = Counter(classes[index] for index in groups[key])
        gain = sum(min(count, max(0, wanted[name])) for name, count in found.items())
        if 2 * gain > len(groups[key]):
            wanted.subtract(found)
            chosen += groups[key]
    # the smallest group, where each is larger than the held-out share
    return sorted(chosen or min(groups.values(), key=len))


def grouped(table: Table, column: str | None) -> Iterable[object]:
    """Return the group of each row: the value in the column of groups, or the row's position."""
    if column is None:
        return range(len(table))
    require_column(table, column, "group")
    values = enumerate(table.columns[column])
    return [("row", index) if is_gap(value) else str(value).strip() for index, value in values]


def shares(sizes: Mapping[str, int], share: float) -> Counter[str]:
    """Return how many rows of each class are held out: the share, largest remainders first."""
    exact = {name: size * share for name, size in sizes.items()}
    total = min(max(1, round(sum(exact.values()))), sum(sizes.values()) - 1)
    found = Counter({name: int(value) for name, value in exact.items()})
    # on equal remainders the larger class gives a row; a class of one row keeps it for training
    order = sorted(exact, key=lambda name: (sizes[name] > 1, exact[name] % 1, sizes[name], name))
    while found.total() < total and order:
        found[order.pop()] += 1
    return found


def digest(seed: int, key: object) -> str:
    """Return the sort key of a row or group."""
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def without_gaps(table: Table, columns: Sequence[str]) -> Table:
    """Drop and count rows in which one of the columns is empty or NaN."""
    cells = [list(table.columns[name]) for name in columns if name in table.columns]
    rows = [index for index in range(len(table)) if not any(is_gap(one[index]) for one in cells)]
    gone = len(table) - len(rows)
    return replace(table.select(rows), left_out=table.left_out + gone) if gone else table


def count_left_out(tables: Mapping[str, Table]) -> dict[str, dict[str, int]]:
    """Warn of rows that are left out; return their numbers by split for the manifest, if any."""
    left_out = {name: table.left_out for name, table in tables.items() if table.left_out}
    for name, count in left_out.items():
        logger.warning("%s: %d rows with empty or too few fields are left out", name, count)
    return {"left_out": left_out} if left_out else {}


def remarks(
    splits: Mapping[str, Dataset], inputs: Sequence[str], label: str | None
) -> Iterator[str]:
    """Yield warnings about the splits: rows that are in two splits, classes with few rows."""
    train, *others = splits.items()
    # chats are lists, which cannot be in a set
    known = {repr(row) for row in zip(*(train[1][name] for name in inputs), strict=True)}
    for split, rows in others:
        found = zip(*(rows[name] for name in inputs), strict=True)
        again = sum(repr(row) in known for row in found)
        if again:
            yield f"{again} of {len(rows)} rows of {split} are in {train[0]}, too"
    feature = train[1].features.get(label or "")
    if label and isinstance(feature, ClassLabel):
        counts = Counter(train[1][label])
        for few, had in enumerate(("no training row", "one training row")):
            names = [name for index, name in enumerate(feature.names) if counts[index] == few]
            if names:
                shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
                yield f"{len(names)} of {len(feature.names)} classes have {had}: {shown}"

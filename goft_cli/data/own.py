"""Data of the user's own: which files there are, and which rows are held out to validate on.

The choice of rows depends on the seed and on where each row stands, not on a library's version.
"""

from __future__ import annotations

import hashlib
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
from goft_cli.data.files import VALIDATION, find_split, read_shards
from goft_cli.data.formats import PARSERS, Layout
from goft_cli.data.table import Table, is_gap
from goft_cli.system.errors import GoftError

TRAIN, TEST = "train", "test"
RowsT = TypeVar("RowsT", Table, Dataset)
SHOWN = 8
"""Classes in a sentence."""
ROWS = "held_out"
"""Key of a manifest's data section: what became of a split's rows."""


def find_files(place: Path, own: OwnDataConfig) -> dict[str, list[Path]]:
    """Return the files of each split: `train`, and `validation` and `test` where there are any.

    `place` is one file, or a folder with train.*, validation.* (or dev, valid, val) and test.*, or
    a folder with one file.
    """
    found = {TRAIN: [place]} if place.is_file() else files_in(place)
    if own.validation is not None:
        path = Path(own.validation).expanduser()
        if not path.is_file():
            raise GoftError(f"validation={own.validation}: no such file", "pass a file of rows")
        found[HELD_OUT] = [path]
    return found


def files_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split in a folder."""
    if not folder.is_dir():
        raise GoftError(
            f"data={folder}: it does not exist",
            "pass a file such as reviews.csv, or a folder",
        )
    found = {split: find_split(folder, split) for split in (TRAIN, HELD_OUT, TEST)}
    if found[TRAIN]:
        return {split: paths for split, paths in found.items() if paths}
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in PARSERS)
    if len(tables) != 1:
        names = ", ".join(path.name for path in sorted(folder.iterdir())[:8]) or "nothing"
        raise GoftError(
            f"data={folder}: found {names}, expected train.* and perhaps {VALIDATION[0]}.* and "
            f"{TEST}.*, or one file, as {', '.join(PARSERS)}",
            "pass the file itself",
        )
    return {TRAIN: tables}


def read_own(
    config: TaskConfig,
    own: OwnDataConfig,
    splits: Sequence[str],
    layout: Layout,
    convert: Callable[[Table], Table] | None = None,
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
    """Return a file's path below a folder, or its whole path where it is elsewhere."""
    whole = path.resolve()
    return whole.relative_to(root).as_posix() if root in whole.parents else str(whole)


def in_splits(
    config: TaskConfig,
    own: OwnDataConfig,
    splits: Sequence[str],
    places: Collection[str],
    read: Callable[[str], RowsT],
) -> tuple[dict[str, RowsT], dict[str, Any]]:
    """Return the rows of splits, and under `ROWS` the numbers of those that are held out.

    Where no place holds the rows to validate on, they are a share of the training rows: of each
    class alike in a table, of the whole in a Dataset, whose columns may not fit into memory.
    """
    # rows to tune on are never those that the runs after are scored on
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
    """Return the named splits; where `tuning` is scored, its rows are none to train on.

    They are taken out of those as `held_out` takes them.
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
    """Return the column whose equal values stay together by default, if it has several values."""
    return column if column and len({*table.columns.get(column, ())}) > 1 else None


def held_out(table: Table, own: OwnDataConfig, strata: str | None) -> list[int]:
    """Return the rows to hold out, in their order: the share of each class, of whole groups.

    Rows, or groups of rows, come in the order of a digest of the seed and their place. One is held
    out as long as its classes have not reached their share.
    """
    rows = range(len(table))
    if len(rows) < 2:
        raise GoftError(
            f"{table.origin}: found {len(rows)} row, expected at least 2, one to validate on",
            "pass more rows",
        )
    classes = (
        [str(identity(one)) for one in columned(table, strata)] if strata else [""] * len(rows)
    )
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
    return sorted(chosen or smallest(groups.values()))


def columned(table: Table, name: str) -> Iterable[Any]:
    """Return a column for its classes; without it, every row is of one class."""
    return table.columns.get(name, [None] * len(table))


def grouped(table: Table, column: str | None) -> Iterable[object]:
    """Return what keeps rows together: the value of the group's column, else their place."""
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
    # of equal remainders the larger class gives the row; a class of one row keeps it for training
    order = sorted(exact, key=lambda name: (sizes[name] > 1, exact[name] % 1, sizes[name], name))
    while found.total() < total and order:
        found[order.pop()] += 1
    return found


def digest(seed: int, key: object) -> str:
    """Return what rows or groups are ordered by."""
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def smallest(groups: Iterable[list[int]]) -> list[int]:
    """Return the smallest group, where each is larger than what is to be held out."""
    return min(groups, key=len)


def without_gaps(table: Table, columns: Sequence[str]) -> Table:
    """Leave out, with a count, rows in which one of the columns is empty or NaN."""
    cells = [list(table.columns[name]) for name in columns if name in table.columns]
    rows = [index for index in range(len(table)) if not any(is_gap(one[index]) for one in cells)]
    gone = len(table) - len(rows)
    return replace(table.select(rows), left_out=table.left_out + gone) if gone else table


def remarks(
    splits: Mapping[str, Dataset], inputs: Sequence[str], label: str | None
) -> Iterator[str]:
    """Yield what a person should know of the splits: rows that are in two, classes of one row."""
    train, *others = splits.items()
    # chats are lists, which no set takes
    known = {repr(row) for row in zip(*(train[1][name] for name in inputs), strict=True)}
    for split, rows in others:
        found = zip(*(rows[name] for name in inputs), strict=True)
        again = sum(repr(row) in known for row in found)
        if again:
            yield f"{again} of {len(rows)} rows of {split} are in {train[0]}, too"
    feature = train[1].features.get(label or "")
    if label and isinstance(feature, ClassLabel):
        counts = Counter(train[1][label])
        for few in (0, 1):
            names = [name for index, name in enumerate(feature.names) if counts[index] == few]
            if names:
                shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
                yield f"{len(names)} classes have {few} training rows: {shown}"

"""JSON lines that are larger than memory: read some rows at a time, and mapped from disk.

Rows are shuffled as those of any other file are, over the whole of it, and a run resumes alike:
the checked rows are Arrow files in the folder for temporary files, of which memory holds pages.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from datasets.arrow_writer import ArrowWriter

from goft_cli.config import HELD_OUT, TaskConfig
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.formats import JSON_ERRORS
from goft_cli.data.own import ROWS, TRAIN, below, find_files, held_out
from goft_cli.data.table import Table
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError

AT_ONCE = 10_000
"""Rows that are in memory together."""
Convert = Callable[[Table], Dataset]


def read_streamed(
    config: TaskConfig, own: OwnDataConfig, splits: Sequence[str], convert: Convert
) -> tuple[dict[str, Dataset], dict[str, Any]]:
    """Return the converted rows of splits, mapped from disk, and what a manifest says of them."""
    files = {name: paths[0] for name, paths in find_files(config.place, own).items()}
    divided = HELD_OUT not in files and HELD_OUT in config.splits
    wanted = dict.fromkeys(TRAIN if divided and name == HELD_OUT else name for name in splits)
    found = {name: mapped(files[name], convert) for name in wanted}
    root = (config.folder or Path()).resolve()
    read = digests([files[name] for name in wanted])
    provenance: dict[str, Any] = {
        "source": str(root),
        "sha256": {below(path, root): digest for path, digest in read.items()},
    }
    if divided and TRAIN in found:
        whole = found.pop(TRAIN)
        rows = held_out(Table(str(files[TRAIN]), {"row": range(len(whole))}), own, None)
        rest = sorted({*range(len(whole))} - {*rows})
        found |= {TRAIN: whole.select(rest), HELD_OUT: whole.select(rows)}
        provenance[ROWS] = {HELD_OUT: [row + 1 for row in rows]}
    return {name: found[name] for name in splits}, provenance


def mapped(path: Path, convert: Convert) -> Dataset:
    """Convert a file some rows at a time, and return them all, mapped from disk."""
    folder = Path(tempfile.mkdtemp(prefix="goft-rows-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    parts = []
    for number, table in enumerate(tables_of(path)):
        rows, file = convert(table), folder / f"{number}.arrow"
        with ArrowWriter(path=str(file), features=rows.features) as writer:
            writer.write_table(rows.with_format("arrow")[:])
            writer.finalize()
        parts.append(Dataset.from_file(str(file)))
    if not parts:
        raise GoftError(f"{path} is empty", "expected at least one row of data")
    return concatenate_datasets(parts)


def tables_of(path: Path) -> Iterator[Table]:
    """Yield the rows of a file of JSON lines, `AT_ONCE` at a time."""
    if path.suffix.lower() != ".jsonl":
        raise GoftError(
            f"task.streaming=true: {path} is no file of JSON lines", "save it as a .jsonl file"
        )
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
            while some := list(islice(lines, AT_ONCE)):
                rows = [record(line, f"{path}, line {number}") for number, line in some]
                names = dict.fromkeys(name for row in rows for name in row)
                columns = {name: [row.get(name) for row in rows] for name in names}
                yield Table(str(path), columns, [number for number, _ in some])
    except UnicodeDecodeError as error:
        raise GoftError(f"{path}: not UTF-8 ({error.reason})", "save the file as UTF-8") from None


def record(line: str, place: str) -> dict[str, Any]:
    """Return the object of a line."""
    try:
        found = json.loads(line)
    except JSON_ERRORS as error:
        raise GoftError(f"{place}: not JSON ({error})", "expected one object per line") from None
    if not isinstance(found, dict):
        raise GoftError(f"{place}: found {line[:40]!r}", "expected one object per line")
    return found


def head_of(path: Path) -> Table:
    """Return the first rows of a file, which tell its columns."""
    table = next(tables_of(path), None)
    if table is None:
        raise GoftError(f"{path} is empty", "expected at least one row of data")
    return table


def count(path: Path) -> int:
    """Return how many rows a file of JSON lines has."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())

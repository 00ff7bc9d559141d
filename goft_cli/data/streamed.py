"""JSON lines that are larger than memory: read in parts, and memory-mapped from disk.

The checked rows are Arrow files in the folder for temporary files. Rows are shuffled over the whole
file, and runs resume, as with any other file.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from datasets.arrow_writer import ArrowWriter

from goft_cli.config import TaskConfig
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.formats import columns_of, empty, record
from goft_cli.data.own import below, find_files, in_splits
from goft_cli.data.table import Table
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError

AT_ONCE = 10_000
"""Rows that are in memory together."""
Convert = Callable[[Table], Dataset]


def read_streamed(
    config: TaskConfig, own: OwnDataConfig, splits: Sequence[str], convert: Convert
) -> tuple[dict[str, Dataset], dict[str, Any]]:
    """Return the converted rows of splits, mapped from disk, and their entry in a manifest."""
    files = find_files(config.place, own)
    root = (config.folder or Path()).resolve()
    sha256: dict[str, str] = {}

    def read(split: str) -> Dataset:
        found = digests(files[split])
        sha256.update({below(path, root): digest for path, digest in found.items()})
        return mapped(files[split], convert)

    found, rows = in_splits(config, own, splits, files, read)
    return found, {"source": str(root), "sha256": sha256, **rows}


def mapped(paths: Sequence[Path], convert: Convert) -> Dataset:
    """Convert the files of a split some rows at a time, and return them all, mapped from disk."""
    folder = Path(tempfile.mkdtemp(prefix="goft-rows-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    parts = []
    for number, table in enumerate(table for path in paths for table in tables_of(path)):
        rows, file = convert(table), folder / f"{number}.arrow"
        with ArrowWriter(path=str(file), features=rows.features) as writer:
            writer.write_table(rows.with_format("arrow")[:])
            writer.finalize()
        parts.append(Dataset.from_file(str(file)))
    if not parts:
        raise empty(paths[0])
    return concatenate_datasets(parts)


def tables_of(path: Path) -> Iterator[Table]:
    """Yield the rows of a file of JSON lines, `AT_ONCE` at a time."""
    if path.suffix.lower() != ".jsonl":
        raise GoftError(
            f"task.streaming=true: {path} is not a file of JSON lines", "save it as a .jsonl file"
        )
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
            while some := list(islice(lines, AT_ONCE)):
                rows = [record(line, f"{path}, line {number}") for number, line in some]
                yield Table(str(path), columns_of(rows), [number for number, _ in some])
    except UnicodeDecodeError as error:
        raise GoftError(f"{path}: not UTF-8 ({error.reason})", "save the file as UTF-8") from None


def head_of(path: Path) -> Table:
    """Return the first rows of a file, to read its columns."""
    table = next(tables_of(path), None)
    if table is None:
        raise empty(path)
    return table


def count(paths: Sequence[Path]) -> int:
    """Return how many rows files of JSON lines have."""
    return sum(1 for path in paths for line in lines_of(path))


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that are not blank."""
    with path.open("rb") as file:
        yield from (line for line in file if line.strip())

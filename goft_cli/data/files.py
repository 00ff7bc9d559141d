"""A folder of local data: the file of each split, and its checksum.

A split is one file, a set of parquet shards as the hub stores them, or a folder that
`datasets.Dataset.save_to_disk` wrote. Scripts and pickles are never opened.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from goft_cli.data.formats import PARSERS, Layout, parse, parse_text
from goft_cli.data.table import Table, from_dataset
from goft_cli.system.digests import digests, read_with_digest
from goft_cli.system.errors import GoftError
from goft_cli.system.files import kind_of, refuse_no_file, refuse_specials

VALIDATION = ("validation", "dev", "valid", "val")
SHARD = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})")
VERSION = re.compile(r"-v\d+(\.\d+)*$")
SAVED = "state.json"
STDIN = "-"


def read_folder(
    folder: Path, splits: Sequence[str], layout: Layout
) -> tuple[dict[str, Table], dict[str, Any]]:
    """Return tables by split, and the folder and SHA-256 of every file for the manifest.

    A split such as `validation_matched` is found as `dev_matched.tsv` too.
    """
    if not folder.is_dir():
        found = kind_of(folder) or ("a file" if folder.exists() else "nothing")
        raise GoftError(
            f"task.data_dir={folder}: found {found} there",
            f"expected a folder with files such as {splits[0]}.tsv",
        )
    tables: dict[str, Table] = {}
    sha256: dict[str, str] = {}
    for split in splits:
        tables[split], read = read_shards(_locate(folder, split), layout)
        sha256 |= {path.relative_to(folder).as_posix(): value for path, value in read.items()}
    return tables, {"source": str(folder.resolve()), "sha256": sha256}


def read_file(path: Path, layout: Layout) -> Table:
    """Read one file of rows."""
    return read_shards([path], layout)[0]


def read_input(path: Path, layout: Layout, line_column: str | None) -> Table:
    """Read rows to predict on: a table; `-` for JSON lines or lines of text from stdin; or a .txt.

    Each line of text is a row, blank ones too, with its text in `line_column`.
    """
    if str(path) == STDIN:
        content, path = sys.stdin.buffer.read(), Path("stdin")
        if content.lstrip().startswith(b"{"):
            return PARSERS[".jsonl"](content, path, layout)
    elif path.suffix.lower() == ".txt":
        content = read_content(path)[0]
    else:
        return read_file(path, layout)
    if line_column is None:
        raise GoftError(
            f"{path}: found lines of text, but a row of this task has several columns",
            "pass a table with these columns, such as a csv file or JSON lines",
        )
    return parse_text(content, path, line_column)


def read_content(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes and their SHA-256."""
    refuse_no_file(path)
    try:
        return read_with_digest(path)
    except OSError as error:
        raise GoftError(f"{path}: cannot be read ({error.strerror})", "check the path") from None


def _stems(split: str) -> list[str]:
    """Return the names under which published data stores a split."""
    head, _, tail = split.partition("_")
    heads = VALIDATION if head == "validation" else (head,)
    return [f"{name}_{tail}" if tail else name for name in heads]


def _locate(folder: Path, split: str) -> list[Path]:
    """Find the file, the shards or the saved folder of one split; refuse a missing split."""
    paths = find_split(folder, split)
    if not paths:
        raise _not_found(folder, split, sorted(folder.iterdir()))
    return paths


def find_split(folder: Path, split: str) -> list[Path]:
    """Find the file, the shards or the saved folder of one split; nothing if it is not there."""
    stems = _stems(split)
    candidates: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if _stem(path) in stems and (path.suffix.lower() in PARSERS or (path / SAVED).is_file()):
            candidates.setdefault(_whole(path) + path.suffix, []).append(path)
    if len(candidates) > 1:
        raise GoftError(
            f"{folder}: {' and '.join(candidates)} may both be the {split} split", "keep one"
        )
    if not candidates:
        return []
    (paths,) = candidates.values()
    shard = SHARD.fullmatch(paths[0].stem)
    expected = int(shard["parts"]) if shard else 1
    if len(paths) != expected:
        raise GoftError(
            f"{folder}: found {len(paths)} of the {expected} shards of {_stem(paths[0])}",
            "copy the others too",
        )
    return paths


def _not_found(folder: Path, split: str, entries: Sequence[Path]) -> GoftError:
    stems, extensions = _stems(split), ", ".join(PARSERS)
    strange = [path.name for path in entries if path.is_file() and path.stem in stems]
    if strange:
        return GoftError(
            f"{folder / strange[0]}: unknown extension", f"expected one of {extensions}"
        )
    names = ", ".join(path.name for path in entries[:12]) + (", ..." if len(entries) > 12 else "")
    return GoftError(
        f"{folder} has no {split} split: found {names or 'an empty folder'}",
        f"expected {' or '.join(stems)} with one of {extensions}, or saved by save_to_disk",
    )


def _whole(path: Path) -> str:
    """Return the name that all shards of one table share."""
    shard = SHARD.fullmatch(path.stem)
    return shard["stem"] if shard else path.stem


def _stem(path: Path) -> str:
    """Return the split's name in a file's: `train` of `train-v1.1.json`."""
    return VERSION.sub("", _whole(path))


def read_shards(paths: Sequence[Path], layout: Layout) -> tuple[Table, dict[Path, str]]:
    """Read the files of one split, and return their SHA-256 too."""
    if (paths[0] / SAVED).is_file():
        return _read_saved(paths[0])
    tables, read = [], {}
    for path in paths:
        content, read[path] = read_content(path)
        tables.append(parse(content, path, layout))
    return (tables[0] if len(tables) == 1 else _joined(tables)), read


def _joined(tables: Sequence[Table]) -> Table:
    """Concatenate shards; rows are numbered within the whole split."""
    first = tables[0]
    for table in tables:
        differences = []
        if set(table.columns) != set(first.columns):
            differences.append(
                f"columns {', '.join(table.columns)} differ from those of {first.origin}, "
                f"{', '.join(first.columns)}"
            )
        if table.label_names != first.label_names:
            differences.append(
                f"its labels are named {dict(table.label_names)}, those of {first.origin} "
                f"{dict(first.label_names)}"
            )
        if differences:
            raise GoftError(f"{table.origin}: {differences[0]}", "keep shards of one data set")
    columns = {
        name: [value for table in tables for value in table.columns[name]] for name in first.columns
    }
    origin, left_out = f"{first.origin} and its shards", sum(table.left_out for table in tables)
    return replace(first, origin=origin, columns=columns, lines=None, left_out=left_out)


def _read_saved(folder: Path) -> tuple[Table, dict[Path, str]]:
    refuse_specials(folder)
    try:
        dataset = Dataset.load_from_disk(str(folder), keep_in_memory=True)
    except (OSError, ValueError, KeyError) as error:
        raise GoftError(f"{folder}: not a folder that save_to_disk wrote whole ({error})") from None
    # The names of the labels are in dataset_info.json, the choice of files in state.json.
    files = [*sorted(folder.glob("*.arrow")), folder / SAVED, folder / "dataset_info.json"]
    return from_dataset(dataset, str(folder)), digests(files)

"""Predictions in a file whose ending says the format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_bytes

Lines = Sequence[Mapping[str, Any]]


def write_lines(path: Path, lines: Lines) -> None:
    """Write predictions whole or not at all, in the format of the file's ending."""
    write_bytes(path, WRITERS[path.suffix.lower()](lines))


def check_ending(path: Path) -> None:
    """Refuse a file in whose format predictions cannot be written."""
    if path.suffix.lower() not in WRITERS:
        raise GoftError(
            f"output={path}: the ending {path.suffix!r} names no format",
            f"expected one of {', '.join(WRITERS)}, such as output={path.with_suffix('.csv')}",
        )


def _as_json_lines(lines: Lines) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _as_json(lines: Lines) -> bytes:
    return (json.dumps(list(lines), indent=2, ensure_ascii=False) + "\n").encode()


def _as_delimited(lines: Lines, *, delimiter: str) -> bytes:
    """Write a column for each number of a prediction; fields are quoted where they must be."""
    import pandas as pd

    frame = pd.json_normalize([dict(line) for line in lines])
    # with "\n" alone, csv would leave a "\r" within a text unquoted
    return frame.to_csv(index=False, sep=delimiter, lineterminator="\r\n").encode()


def _as_parquet(lines: Lines) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([dict(line) for line in lines]), file)
    return file.getvalue()


WRITERS: dict[str, Callable[[Lines], bytes]] = {
    ".jsonl": _as_json_lines,
    ".json": _as_json,
    ".csv": partial(_as_delimited, delimiter=","),
    ".tsv": partial(_as_delimited, delimiter="\t"),
    ".parquet": _as_parquet,
}
"""What writes a file, by its ending."""

"""Parsers of data files: tsv, csv, JSON, JSON lines, parquet, Arrow, CoNLL.

Every format is parsed from bytes in memory, so that the checksum in the manifest is that of the
data in use, and no cache can return an older file.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from datasets.table import InMemoryTable

from goft_cli.config.labels import level
from goft_cli.data.cells import rows_of
from goft_cli.data.table import Table, columns_of, from_dataset
from goft_cli.data.tagged import parse_words
from goft_cli.system.errors import GoftError

ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16's does, so it is asked first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
"""Encoding of a file by its first bytes; without any of these it is UTF-8."""
QUOTED = re.compile(r'"(?<![^\t\r\n]")([^"]*(?:""[^"]*)*)"(?![^\t\r\n])')
"""A whole quoted field of tab-separated text, with inner quotes doubled."""
FIRST_LINE = re.compile(r"[\r\n]*[^\r\n]*")
SEPARATOR = re.compile(r"\s*sep=([^\r\n])[\r\n]")
"""A first line for Excel, which names the delimiter and is no header."""
NEEDS_QUOTES = re.compile(r'[\t\r\n"]')
NO_NUMBERS = re.compile(r"[^\d.eE+\-\t\r\n]")
# Numbers with thousands of digits raise ValueError, deeply nested brackets RecursionError.
JSON_ERRORS = (ValueError, RecursionError)

NumberedRow = tuple[int, list[str]]


@dataclass(frozen=True)
class Layout:
    """How to read tables that may come without a header row.

    Attributes:
        raw_columns: names of the columns when there is no header; empty if there always is one.
        header: columns that a header must name; if empty, a file of raw columns never has a header.
        aliases: names of a column in files, by the task's name of it.
        skip_short_rows: count and drop rows with fewer fields than the first row; by default they
            are refused.
        document: function that reads a JSON file of one value, from the value and the file's name;
            without it a JSON file is JSON lines.
    """

    raw_columns: Sequence[str] = ()
    header: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    skip_short_rows: bool = False
    document: Callable[[Any, str], Table] | None = None


def parse(content: bytes, path: Path, layout: Layout) -> Table:
    """Parse a file by its extension."""
    parser = PARSERS.get(path.suffix.lower())
    if parser is None:
        raise GoftError(f"{path}: unknown extension", f"expected one of {', '.join(PARSERS)}")
    if not content:
        raise empty(path)
    return parser(content, path, layout)


def empty(path: Path) -> GoftError:
    """Return the error for a file without content."""
    return GoftError(f"{path} is empty", "expected at least one row of data")


def _parse_tsv(content: bytes, path: Path, layout: Layout) -> Table:
    text = _text(content, path)
    unquoted = _rows(text, path, delimiter="\t", quoting=csv.QUOTE_NONE)
    if layout.skip_short_rows or not has_quoting(text):
        return _delimited(unquoted, path, layout)
    rows = _rows(text, path, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    table = _delimited(rows, path, layout)
    # Files without a header, or with short rows, are GLUE's own.
    return _delimited(unquoted, path, layout) if table.headless else table


def has_quoting(text: str) -> bool:
    """Tell whether quotes in tab-separated text quote fields, as in pandas, unlike in GLUE.

    They do if every quote belongs to a quoted field, and either each quoted field needs quotes, or
    every field that is not a number has them.
    """
    rest = QUOTED.sub("", text)
    if '"' in rest or len(rest) == len(text):
        return False
    return not NO_NUMBERS.search(rest) or all(map(NEEDS_QUOTES.search, QUOTED.findall(text)))


def _parse_csv(content: bytes, path: Path, layout: Layout) -> Table:
    text = _text(content, path)
    if told := SEPARATOR.match(text):
        text = f"\n{text[told.end() :].removeprefix(chr(10))}"  # the other lines keep their numbers
    delimiter = told[1] if told else "," if layout.raw_columns else delimiter_of(text)
    rows = _rows(text, path, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
    return _delimited(rows, path, layout)


def delimiter_of(text: str) -> str:
    """Return `,`, or if the header has none, the `;` of European spreadsheets or a tab in it."""
    header = FIRST_LINE.match(text)
    marks = [mark for mark in ",;\t" if header and mark in header[0]]
    return marks[0] if marks else ","


def _rows(
    text: str, path: Path, *, delimiter: str, quoting: Literal[0, 3]
) -> Iterator[NumberedRow]:
    """Yield the rows that are not blank, each with the number of its first line."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # the text is in memory already
    lines, start = io.StringIO(text, newline=""), 1
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise GoftError(f"{path}, line {start}: {error}", "correct the line") from None


def _delimited(rows: Iterator[NumberedRow], path: Path, layout: Layout) -> Table:
    first = next(rows)
    headless = _is_headless(first[1], layout)
    names = list(layout.raw_columns) if headless else first[1]
    if names.count("") > 1:  # empty columns of a spreadsheet
        names = names[: 1 + max((at for at, name in enumerate(names) if name), default=0)]
    columns: dict[str, list[str]] = {name: [] for name in names}
    if len(columns) < len(names):
        problem = f"{path}, line {first[0]}: two columns share a name ({', '.join(names)})"
        raise GoftError(problem, "rename one of them")
    lines, left_out = [], 0
    for line, fields in chain([first], rows) if headless else rows:
        if len(fields) < len(names) and layout.skip_short_rows:
            left_out += 1
            continue
        if not "".join(fields[len(names) :]).strip():
            fields = fields[: len(names)]
        if len(fields) != len(names):
            raise GoftError(
                f"{path}, line {line}: found {len(fields)} fields, expected {len(names)} "
                f"({', '.join(names)})",
                "correct the line",
            )
        lines.append(line)
        for column, value in zip(columns.values(), fields, strict=True):
            column.append(value)
    return Table(str(path), columns, lines, headless=headless, left_out=left_out)


def _is_headless(first: Sequence[str], layout: Layout) -> bool:
    """Tell whether the first row is data of the layout's raw columns, not a header.

    It is a header if it names every required column, or any raw column at its position.
    """
    if not layout.raw_columns or not layout.header:
        return bool(layout.raw_columns)
    own = {level(alias): level(name) for name, alias in layout.aliases.items()}
    cells = [own.get(level(cell), level(cell)) for cell in first]
    raw = [level(name) for name in layout.raw_columns]
    named = {level(name) for name in layout.header} <= set(cells)
    in_place = any(map(str.__eq__, cells, raw))
    return len(cells) == len(raw) and not named and not in_place


def _parse_json(content: bytes, path: Path, layout: Layout) -> Table:
    """Read one value by the layout's `document`, one array, a table of pandas, or JSON lines."""
    text = _text(content, path)
    if layout.document is not None:
        table = _document(text.strip(), path, layout.document)
        return _parse_lines(content, path, layout) if table is None else table
    try:
        value = json.loads(text)
    except JSON_ERRORS as error:
        if not text.lstrip().startswith("["):
            return _parse_lines(content, path, layout)
        place = f"{path}, line {getattr(error, 'lineno', 1)}"
        raise GoftError(f"{place}: not JSON ({error})", "expected an array of objects") from None
    rows = value if isinstance(value, list) else rows_of(value)
    if rows is None:
        return _parse_lines(content, path, layout)
    if not rows:
        raise empty(path)
    records = [_object(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1)]
    return Table(str(path), columns_of(records))


def _document(text: str, path: Path, read: Callable[[Any, str], Table]) -> Table | None:
    """Read one JSON value; None if more follows it."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except JSON_ERRORS as error:
        raise GoftError(f"{path}: not JSON ({error})", "copy the file again") from None
    return read(value, str(path)) if end == len(text) else None


def _parse_lines(content: bytes, path: Path, layout: Layout) -> Table:
    """Read one object per line."""
    texts = enumerate(_text(content, path).split("\n"), start=1)
    lines = {line: text for line, text in texts if text.strip()}
    records = [record(text, f"{path}, line {line}") for line, text in lines.items()]
    return Table(str(path), columns_of(records), list(lines))


def record(text: str, place: str) -> dict[str, Any]:
    """Return the object of a line of JSON lines; `place` names the line in errors."""
    try:
        return _object(json.loads(text), place)
    except JSON_ERRORS as error:
        raise GoftError(f"{place}: not JSON ({error})", "expected one object per line") from None


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GoftError(f"{place}: found {json.dumps(value)[:40]}", "expected one object per row")
    return value


def _parse_parquet(content: bytes, path: Path, layout: Layout) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = Dataset(InMemoryTable(parquet.read_table(io.BytesIO(content))))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise GoftError(f"{path}: not a readable parquet file ({error})") from None
    return from_dataset(rows, str(path))


def _parse_words(content: bytes, path: Path, layout: Layout) -> Table:
    return parse_words(_text(content, path), path)


def _parse_arrow(content: bytes, path: Path, layout: Layout) -> Table:
    """Read an Arrow file (Feather too) or an Arrow stream, the format of `datasets`."""
    import pyarrow as pa

    opened = pa.ipc.open_file if content.startswith(b"ARROW1") else pa.ipc.open_stream
    try:
        rows = Dataset(InMemoryTable(opened(content).read_all()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise GoftError(f"{path}: not a readable Arrow file ({error})") from None
    return from_dataset(rows, str(path))


def parse_text(content: bytes, path: Path, column: str) -> Table:
    """Read each line as the text of a row, blank ones too."""
    texts = _text(content, path).removesuffix("\n").split("\n")
    columns = {column: [text.removesuffix("\r") for text in texts]}
    return Table(str(path), columns, range(1, len(texts) + 1))


def _text(content: bytes, path: Path) -> str:
    encoding = next((ENCODINGS[mark] for mark in ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GoftError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not "
            f"{encoding.removesuffix('-sig').upper()}",
            "save the file as UTF-8",
        ) from None
    if not text.strip():
        raise empty(path)
    return text


PARSERS: dict[str, Callable[[bytes, Path, Layout], Table]] = {
    ".tsv": _parse_tsv,
    ".csv": _parse_csv,
    ".jsonl": _parse_lines,
    ".json": _parse_json,
    ".parquet": _parse_parquet,
    ".conll": _parse_words,
    ".bio": _parse_words,
    ".conllu": _parse_words,
    ".arrow": _parse_arrow,
    ".feather": _parse_arrow,
}
"""Parser by file extension."""

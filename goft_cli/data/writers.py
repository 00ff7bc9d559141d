"""Writes rows with predictions to a file, some rows at a time; its suffix sets the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

Prediction = Mapping[str, Any]
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Predicted:
    """Columns of the input, and the predictions on their rows, one part at a time.

    Attributes:
        columns: values of all rows by the name of their column, each a sequence.
        parts: indices of some rows, in order, and a prediction for each, or None.
        name: name of the predictions' column.
    """

    columns: Mapping[str, Any]
    parts: Iterable[tuple[range, Sequence[Prediction | None]]]
    name: str = "prediction"

    def lines(self) -> Iterator[list[dict[str, Any]]]:
        """Yield rows, some at a time, each with its prediction as one object."""
        for places, predictions in self.parts:
            own = zip(*self._own(places).values(), strict=True)
            yield [
                {**dict(zip(self.columns, values, strict=True)), self.name: prediction}
                for values, prediction in zip(own, predictions, strict=True)
            ]

    def tables(self) -> Iterator[Columns]:
        """Yield rows, some at a time, as columns: each value of a prediction is a column.

        All parts have the same columns. Parts before the first prediction wait for it.
        """
        names: list[str] = []
        waiting: list[tuple[range, list[dict[str, Any]]]] = []
        for places, predictions in self.parts:
            flat = [flattened(self.name, found or {}) for found in predictions]
            names = names or next((list(found) for found in flat if found), [])
            waiting.append((places, flat))
            while names and waiting:
                places, flat = waiting.pop(0)
                found = {name: [values.get(name) for values in flat] for name in names}
                yield self._own(places) | found

    def _own(self, places: range) -> Columns:
        return {
            name: list(values[places.start : places.stop]) for name, values in self.columns.items()
        }


def free_name(columns: Iterable[str], wanted: str = "prediction") -> str:
    """Return a free name for the predictions: `prediction`, or with a number.

    A column such as `prediction.label`, from an earlier file, also occupies the name.
    """
    taken = {column.split(".")[0] for column in columns}
    numbered = (f"{wanted}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (wanted, *numbered) if name not in taken)


def flattened(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = f"{name}.{key}"
        flat |= flattened(inner, value) if isinstance(value, Mapping) else {inner: value}
    return flat


def write_json_lines(lines: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    """Write one JSON object per line."""
    file.writelines(f"{as_json(line)}\n".encode(errors="replace") for line in lines)


def as_json(value: object) -> str:
    """Return JSON; values without a JSON form, such as a parquet file's dates, become text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _as_json_lines(rows: Predicted, file: BinaryIO) -> None:
    for lines in rows.lines():
        write_json_lines(lines, file)
        file.flush()


def _as_json_array(rows: Predicted, file: BinaryIO) -> None:
    separator = "["
    for lines in rows.lines():
        items = json.dumps(lines, indent=2, ensure_ascii=False, default=str)
        file.write(f"{separator}{items[1:-2]}".encode(errors="replace"))
        separator = ","
    file.write(b"\n]\n")


def _as_delimited(rows: Predicted, file: BinaryIO, *, delimiter: str) -> None:
    """Write a line for each row; fields are quoted where they must be."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    # with "\n" alone, csv would leave a "\r" within a text unquoted
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    for number, table in enumerate(rows.tables()):
        if number == 0:
            writer.writerow(table)
        cells = ([cell(value) for value in values] for values in table.values())
        writer.writerows(zip(*cells, strict=True))
    text.detach()


def cell(value: object) -> str:
    """Return a text as it is, other values as JSON, and a missing value as an empty field."""
    if value is None or isinstance(value, str):
        return value or ""
    return as_json(value)


def _as_parquet(rows: Predicted, file: BinaryIO) -> None:
    from pyarrow import parquet

    _as_arrow(rows, file, parquet.ParquetWriter)


def _as_feather(rows: Predicted, file: BinaryIO) -> None:
    import pyarrow as pa

    _as_arrow(rows, file, pa.ipc.new_file)


def _as_arrow(rows: Predicted, file: BinaryIO, new_writer: Callable[..., Any]) -> None:
    """Write groups of rows, in columns of the types that all of the input's rows have.

    The types of the predictions are those of the first ones.
    """
    import pyarrow as pa

    writer, schema = None, pa.schema([])
    try:
        for table in rows.tables():
            if writer is None:
                whole = {name: rows.columns.get(name, values) for name, values in table.items()}
                schema = pa.schema([(name, column_type(whole[name])) for name in whole])
                writer = new_writer(file, schema)
            arrays = [
                as_array(values, kind)
                for values, kind in zip(table.values(), schema.types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    finally:
        if writer is not None:
            writer.close()


def column_type(values: Sequence[Any]) -> pa.DataType:
    """Return the Arrow type of all the values; text if they have no common type."""
    import pyarrow as pa

    try:
        kind = pa.array(list(values)).type
    except (pa.ArrowException, UnicodeError, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(kind) else kind


def as_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return the values in a type; if it is text, other values become JSON."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        texts = (None if value is None else cell(value) for value in values)
        values = [text and text.encode(errors="replace").decode() for text in texts]
    return pa.array(values, kind)


WRITERS: dict[str, Callable[[Predicted, BinaryIO], None]] = {
    ".jsonl": _as_json_lines,
    ".json": _as_json_array,
    ".csv": partial(_as_delimited, delimiter=","),
    ".tsv": partial(_as_delimited, delimiter="\t"),
    ".parquet": _as_parquet,
    ".arrow": _as_feather,
    ".feather": _as_feather,
}
"""Writer by file suffix."""

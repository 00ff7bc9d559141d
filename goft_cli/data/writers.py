"""Writes rows with predictions to a file, some rows at a time; its suffix sets the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
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


def free_name(columns: Iterable[str]) -> str:
    """Return a free name for the predictions: `prediction`, or with a number.

    A column such as `prediction.label`, from an earlier file, also occupies the name.
    """
    taken = {column.split(".")[0] for column in columns}
    numbered = (f"prediction_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in ("prediction", *numbered) if name not in taken)


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
    """Write groups of rows, in columns of the types that `typed` finds."""
    import pyarrow as pa

    schema, tables = typed(rows)
    with new_writer(file, schema) as writer:
        for table in tables:
            arrays = [
                as_array(values, kind)
                for values, kind in zip(table.values(), schema.types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def typed(rows: Predicted) -> tuple[pa.Schema, Iterator[Columns]]:
    """Return the Arrow types of all columns, and the rows, some at a time.

    A column of the input has the type of all its values. A column of predictions has that of the
    first part with a value in it, or in a list of it: parts before that one wait in memory.
    """
    import pyarrow as pa

    kinds = {name: column_type(values) for name, values in rows.columns.items()}
    tables, waiting = rows.tables(), []
    for table in tables:
        waiting.append(table)
        predictions = {
            name: kinds.get(name, pa.null()) for name in table if name not in rows.columns
        }
        late = [name for name, kind in predictions.items() if lacks_values(kind)]
        found = {name: column_type(table[name]) for name in late}
        kinds |= predictions | {name: kind for name, kind in found.items() if kind != pa.null()}
        if not any(map(lacks_values, found.values())):
            break
    fields = [(name, pa.string() if kind == pa.null() else kind) for name, kind in kinds.items()]
    return pa.schema(fields), chain(waiting, tables)


def lacks_values(kind: pa.DataType) -> bool:
    """Tell whether a type is that of no values, or of lists of none."""
    import pyarrow as pa

    inner = (kind.field(index).type for index in range(kind.num_fields))
    return pa.types.is_null(kind) or any(map(lacks_values, inner))


def column_type(values: Sequence[Any]) -> pa.DataType:
    """Return the Arrow type of all the values; text if they have no common type."""
    import pyarrow as pa

    try:
        return pa.array(list(values)).type
    except (pa.ArrowException, UnicodeError, OverflowError):
        return pa.string()


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

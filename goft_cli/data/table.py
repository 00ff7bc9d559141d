"""Tables of unchecked rows with their places for error messages, and checks of columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value

from goft_cli.config import TextClassificationConfig
from goft_cli.config.labels import Labels
from goft_cli.data.cells import AS_JSON, label_set
from goft_cli.system.errors import GoftError

SURROGATE = re.compile(r"[\ud800-\udfff]")
"""An unpaired surrogate: JSON can contain it, but no tokenizer or file accepts it."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length, not yet checked for meaning.

    Attributes:
        origin: file, or dataset and split, as error messages name it.
        columns: values by column name.
        lines: line number of each row in its file, counted from 1; None where rows have no lines.
        names: the name of each row, if a line or number does not identify it.
        label_names: names of integer labels, if the data has them.
        headless: whether the file's first line is a row; None for a format without headers.
        left_out: number of rows of the file that were dropped.
    """

    origin: str
    columns: Mapping[str, Iterable[Any]]
    lines: Sequence[int] | None = None
    names: Sequence[str] | None = None
    label_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headless: bool | None = None
    left_out: int = 0

    def place(self, index: int) -> str:
        """Name one row, `index` counted from 0, the way an editor finds it."""
        if self.names is not None:
            return f"{self.origin}, {self.names[index]}"
        if self.lines is not None:
            return f"{self.origin}, line {self.lines[index]}"
        return f"{self.origin}, row {index + 1}"

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(list(next(iter(self.columns.values()), ())))

    def select(self, rows: Sequence[int]) -> Table:
        """Return some of the rows, counted from 0; error messages still name their old places."""
        columns = {name: list(values) for name, values in self.columns.items()}
        chosen = {name: [values[row] for row in rows] for name, values in columns.items()}
        if self.names is None and self.lines is not None:
            return replace(self, columns=chosen, lines=[self.lines[row] for row in rows])
        known = self.names or [f"row {row + 1}" for row in range(len(self))]
        return replace(self, columns=chosen, names=[known[row] for row in rows])

    def named(self, column: str) -> Iterator[Any]:
        """Yield a column's values; for numbers with label names, the name, or None without one."""
        names = dict(enumerate(self.label_names.get(column, [])))
        for value in self.columns[column]:
            if names and isinstance(value, list):
                yield [names.get(one) for one in value]
            else:
                yield names.get(value) if names else value

    def renamed(self, aliases: Mapping[str, str]) -> Table:
        """Rename columns to the task's names, unless a column has that name already."""
        names = {
            alias: wanted
            for wanted, alias in aliases.items()
            if wanted not in self.columns and alias in self.columns
        }
        return replace(
            self,
            columns={names.get(k, k): v for k, v in self.columns.items()},
            label_names={names.get(k, k): v for k, v in self.label_names.items()},
        )


def columns_of(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns; missing values are None, which the task accepts or refuses."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def from_dataset(dataset: Dataset, origin: str) -> Table:
    """Wrap a dataset; its columns are read only when someone iterates over them."""
    columns = {name: dataset[name] for name in dataset.column_names}
    return Table(origin=origin, columns=columns, label_names=names_of(dataset.features))


def names_of(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the label names of each column of class labels, or of lists of them."""
    inner = {column: getattr(kind, "feature", kind) for column, kind in features.items()}
    return {column: kind.names for column, kind in inner.items() if isinstance(kind, ClassLabel)}


def checked_rows(table: Table, config: TextClassificationConfig, *, labelled: bool) -> Dataset:
    """Return the checked text columns of a text classification task, in memory.

    With `labelled` the table needs a label column, which becomes named ids, float64 targets or
    lists of names; without `labelled` a missing text is an empty text.
    """
    table = table.renamed(config.column_aliases)
    wanted = [*config.text_columns, *([config.label_column] if labelled else [])]
    require_columns(table, wanted, _remedy(table, labelled=labelled))
    columns: dict[str, list[Any]] = {
        name: texts(table, name, or_gap=not labelled) for name in config.text_columns
    }
    features = Features({name: Value("string") for name in config.text_columns})
    if labelled:
        columns[config.label_column] = _targets(table, config)
        named = ClassLabel(names=config.labels) if config.labels else Value("float64")
        features[config.label_column] = List(Value("string")) if config.multi_label else named
    if not columns[wanted[0]]:
        raise GoftError(f"{table.origin}: no rows", "expected at least one row of data")
    return Dataset.from_dict(columns, features=features)


def _remedy(table: Table, *, labelled: bool) -> str:
    """Return the remedy for a missing column; a training can also set the task's keys."""
    remedy = "rename the columns"
    if labelled:
        remedy += ", or name yours with task.text_columns and task.label_column"
    if table.headless is not None:
        header = "name its columns in order with task.raw_columns=[...]"
        remedy += f"; if the file has no header row, {header if labelled else 'add one'}"
    return remedy


def refuse_header(table: Table, config: TextClassificationConfig) -> None:
    """Refuse a headless table if only its first row has no label: that row is a header."""
    values = list(table.columns.get(config.label_column, []))
    if not table.headless or not config.labels or len(values) < 2:
        return
    first, *others = map(Labels(config.labels).id_of, values)
    if first is None and None not in others:
        raise GoftError(
            f"{table.place(0)}: {config.label_column} is {values[0]!r}, and a label in every "
            "other row: it seems to be a header",
            f"name {', '.join(config.text_columns)} in it",
        )


def require_columns(table: Table, wanted: Sequence[str], remedy: str) -> None:
    """Refuse a table that lacks a column."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise GoftError(
            f"{table.origin}: column {', '.join(missing)} is missing; found "
            f"{', '.join(map(repr, table.columns))}, wanted {', '.join(wanted)}",
            remedy,
        )


def require_distinct(table: Table, name: str, values: Sequence[Hashable], remedy: str) -> None:
    """Refuse a column of a table in which a value occurs twice; both places are named."""
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        earlier = first.setdefault(value, index)
        if earlier != index:
            raise GoftError(
                f"{table.place(index)}: {name} {value} is that of {table.place(earlier)} too",
                remedy,
            )


def is_gap(value: object) -> bool:
    """Tell whether a cell is empty: nothing, blanks, or NaN."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def texts(table: Table, name: str, *, or_gap: bool = False) -> list[str]:
    """Return a column of texts; with `or_gap` an empty cell is an empty text."""
    values = list(table.columns[name])
    if or_gap:
        values = ["" if is_gap(value) else value for value in values]
    for index, value in enumerate(values):
        if not isinstance(value, str) or SURROGATE.search(value):
            raise GoftError(
                f"{table.place(index)}: {name} is {value!r}, expected text", "correct the row"
            )
    return values


def label_spelling(table: Table, config: TextClassificationConfig) -> list[str]:
    """Return the task's labels as a table spells them; the data's label names come first."""
    table = table.renamed(config.column_aliases)
    column = config.label_column
    values = table.label_names.get(column) or table.columns.get(column, [])
    if config.multi_label:
        values = [one for value in values for one in label_set(value) or []]
    return list(Labels(config.labels).spelled_as(values).names)


def _targets(table: Table, config: TextClassificationConfig) -> list[Any]:
    column, labels = config.label_column, Labels(config.labels)
    convert, expected = (labels.id_of, labels.expected) if labels.names else _number(config)
    own = table.label_names.get(column)
    if own and labels.names:
        labels.ids_of(own, table.origin)
    if config.multi_label:
        return _sets(table, column, labels)
    known = lru_cache(maxsize=4096)(convert)  # few labels, and rows by the hundred thousand
    targets = [known(v) if isinstance(v, Hashable) else None for v in table.named(column)]
    for index, value in enumerate(table.columns[column]):
        if targets[index] is None:
            raise GoftError(
                f"{table.place(index)}: {column} is {value!r}, expected {expected}",
                "" if labels.names else "write it with a decimal point and without a unit",
            )
    return targets


def _sets(table: Table, column: str, labels: Labels) -> list[list[str]]:
    """Return the names of each row's labels, in the task's order."""
    known = lru_cache(maxsize=4096)(labels.id_of)
    found = []
    for index, value in enumerate(table.named(column)):
        given = label_set(value)
        if given is None:
            raise GoftError(
                f"{table.place(index)}: {column} is {value!r}, expected a list of labels, or text "
                "with ; between them",
                f"{AS_JSON}, and [] or an empty text for a row without any label",
            )
        ids = [known(one) if isinstance(one, Hashable) else None for one in given]
        there = {one for one in ids if one is not None}
        if None in ids:
            strange = given[ids.index(None)]
            raise GoftError(
                f"{table.place(index)}: {column} has {strange!r}, expected {labels.expected}"
            )
        found.append([labels.names[one] for one in sorted(there)])
    return found


def _number(config: TextClassificationConfig) -> tuple[Callable[[Any], float | None], str]:
    """Return the function that converts a regression target, and a phrase for valid values."""
    low, high = config.label_range or (-math.inf, math.inf)

    def convert(value: object) -> float | None:
        if not isinstance(value, (int, float, str, Decimal)):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) and low <= number <= high else None

    bounds = f" from {low:g} to {high:g}" if config.label_range else ""
    return convert, f"a number{bounds}"

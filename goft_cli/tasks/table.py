"""Rows as they were read, each with the place to point at when something is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from datasets import ClassLabel, Dataset


@dataclass(frozen=True)
class Table:
    """Columns of equal length, not yet checked for meaning.

    Attributes:
        origin: file, or dataset and split, as error messages name it.
        columns: values by column name.
        lines: line number of each row in its file, counted from 1; None where rows have no lines.
        names: what each row is called where neither a line nor a number tells it.
        label_names: names of integer labels where the data carries them.
        headless: whether the file's first line is a row already; None for a format without header.
        left_out: how many rows of the file are not among these.
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

    def named(self, column: str) -> Iterator[Any]:
        """Yield a column's values; where the data names its numbers, their names, or None."""
        names = dict(enumerate(self.label_names.get(column, [])))
        for value in self.columns[column]:
            yield names.get(value) if names else value

    def renamed(self, aliases: Mapping[str, str]) -> Table:
        """Give columns the task's own names, wherever those are not taken already."""
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


def from_dataset(dataset: Dataset, origin: str) -> Table:
    """Wrap a dataset; its columns are read only when someone iterates over them."""
    names = {
        column: feature.names
        for column, feature in dataset.features.items()
        if isinstance(feature, ClassLabel)
    }
    columns = {name: dataset[name] for name in dataset.column_names}
    return Table(origin=origin, columns=columns, label_names=names)

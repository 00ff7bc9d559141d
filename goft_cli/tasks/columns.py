"""From raw columns to checked rows: text where text belongs, labels as ids or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset, Features, Value

from goft_cli.config import TextClassificationConfig
from goft_cli.errors import GoftError
from goft_cli.tasks.table import Table

REMEDY = "rename the columns, or name yours with task.text_columns and task.label_column"


def checked_rows(table: Table, config: TextClassificationConfig, *, labelled: bool) -> Dataset:
    """Keep and check the columns of a text classification task, in memory.

    Args:
        table: rows as read.
        config: which columns to take and which labels to expect.
        labelled: whether a label column must be there; otherwise one that exists is left out.

    Returns:
        The text columns, and with `labelled` the label column: int64 ids, or float64 targets.

    Raises:
        GoftError: a column is missing, a text is not text, or a label is not one of the task's.
    """
    table = table.renamed(config.column_aliases)
    wanted = [*config.text_columns, *([config.label_column] if labelled else [])]
    require_columns(table, wanted, REMEDY)
    columns: dict[str, list[Any]] = {name: texts(table, name) for name in config.text_columns}
    features = Features({name: Value("string") for name in config.text_columns})
    if labelled:
        columns[config.label_column] = _targets(table, config)
        features[config.label_column] = Value("int64" if config.labels else "float64")
    if not columns[wanted[0]]:
        raise GoftError(f"{table.origin}: no rows; expected at least one row of data")
    return Dataset.from_dict(columns, features=features)


def require_columns(table: Table, wanted: Sequence[str], remedy: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        GoftError: names the columns missing, found and wanted, and then the remedy.
    """
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise GoftError(
            f"{table.origin}: column {', '.join(missing)} is missing; "
            f"found {', '.join(map(repr, table.columns))}, wanted {', '.join(wanted)}; "
            f"{remedy}"
        )


def texts(table: Table, name: str) -> list[str]:
    """Return a column of texts.

    Raises:
        GoftError: a value is not text.
    """
    values = list(table.columns[name])
    for index, value in enumerate(values):
        if not isinstance(value, str) or not is_unicode(value):
            raise GoftError(
                f"{table.place(index)}: {name} is {value!r}, expected text; correct the row"
            )
    return values


def is_unicode(text: str) -> bool:
    """Tell text from half surrogate pairs, which JSON can spell and no tokenizer or file takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _targets(table: Table, config: TextClassificationConfig) -> list[Any]:
    convert, expected = _class_id(table, config) if config.labels else _number(config)
    targets = []
    for index, value in enumerate(table.columns[config.label_column]):
        target = convert(value)
        if target is None:
            raise GoftError(
                f"{table.place(index)}: {config.label_column} is {value!r}, expected {expected}"
            )
        targets.append(target)
    return targets


def _class_id(
    table: Table, config: TextClassificationConfig
) -> tuple[Callable[[Any], int | None], str]:
    """Return what maps a label (name, id, or id as text) to its id, and what it accepts."""
    labels = config.labels
    own_names = (table.label_names or {}).get(config.label_column, [])
    # The same names in another order: then the data's ids are not the task's ids.
    renumbered = sorted(own_names) == sorted(labels) and list(own_names) != labels

    def convert(value: object) -> int | None:
        if isinstance(value, str) and value in labels:
            return labels.index(value)
        number = _finite(value)
        if number is None or number != int(number) or not 0 <= number < len(labels):
            return None
        return labels.index(own_names[int(number)]) if renumbered else int(number)

    ids = f"0 to {len(labels) - 1}"
    return convert, f"a label id from {ids} or one of {', '.join(labels)}"


def _number(config: TextClassificationConfig) -> tuple[Callable[[Any], float | None], str]:
    """Return what turns a regression target into a float, and what it accepts."""
    low, high = config.label_range or (-math.inf, math.inf)

    def convert(value: object) -> float | None:
        number = _finite(value)
        return number if number is not None and low <= number <= high else None

    bounds = f" from {low:g} to {high:g}" if config.label_range else ""
    return convert, f"a number{bounds}"


def _finite(value: object) -> float | None:
    """Read a number, or the text of one; None for anything else, NaN and infinity included."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None

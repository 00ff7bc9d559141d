"""From raw columns to instruction, input and output; and a share of the rows kept back."""

from __future__ import annotations

import logging
from dataclasses import replace

from datasets import Dataset, Features, Value

from goft_cli.data.table import Table, require_columns, texts
from goft_cli.system.errors import GoftError
from goft_cli.tasks.instruction.template import query_of

logger = logging.getLogger(__name__)

QUESTION_COLUMNS = ("instruction", "input")
ANSWER = "output"
REMEDY = "rename the columns, or name yours: 'task.column_aliases={output: response}'"
HOLDOUT_SEED = 0


def checked_rows(table: Table, *, answered: bool) -> Dataset:
    """Keep and check the columns of an instruction task, in memory.

    Args:
        table: rows as read; the column `input`, and any value of it, may be absent.
        answered: whether there must be answers; otherwise those that exist are left out.

    Returns:
        `instruction`, `input`, and with `answered` `output`; then without the rows that have no
        question or no answer, which the reference leaves out too.
    """
    names = [*QUESTION_COLUMNS, *([ANSWER] if answered else [])]
    require_columns(table, [name for name in names if name != "input"], REMEDY)
    table = _with_inputs(table)
    columns = {name: texts(table, name) for name in names}
    rows = Dataset.from_dict(columns, features=Features({name: Value("string") for name in names}))
    kept = _whole(rows, table.origin) if answered else rows
    if not kept:
        raise GoftError(f"{table.origin}: no rows", "expected at least one instruction with output")
    return kept


def divide(rows: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """Keep a share of the rows back, always the same ones.

    Args:
        rows: of the training split.
        share: above 0 and below 1.

    Returns:
        the other rows, and the share: at least one row of each.
    """
    if len(rows) < 2:
        raise GoftError(
            f"task.holdout={share:g}: found {len(rows)} training row, expected at least 2",
            "pass task.holdout=0",
        )
    held = min(max(round(share * len(rows)), 1), len(rows) - 1)
    parts = rows.train_test_split(test_size=held, seed=HOLDOUT_SEED, keep_in_memory=True)
    return parts["train"], parts["test"]


def _with_inputs(table: Table) -> Table:
    """Write an input that is absent or null as the empty text."""
    given = table.columns.get("input", (None for _ in table.columns["instruction"]))
    inputs = ["" if value is None else value for value in given]
    return replace(table, columns={**table.columns, "input": inputs})


def _whole(rows: Dataset, origin: str) -> Dataset:
    """Leave out rows without a question or an answer, and say how many."""
    columns = zip(rows["instruction"], rows["input"], rows[ANSWER], strict=True)
    whole = [bool(query_of(first, extra) and answer) for first, extra, answer in columns]
    if not all(whole):
        logger.warning(
            "%s: %d of %d rows have no instruction or no output and are left out",
            *(origin, whole.count(False), len(rows)),
        )
    return rows.select([index for index, fits in enumerate(whole) if fits])

"""Checked rows of instructions, and Alpaca's template, filled and cut as in LLaMA-Factory v0.4.0.

The parts are tokenized one by one and concatenated. With a sentencepiece tokenizer this differs
from tokenizing the whole text: every part starts with the mark of a new word.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import cast

from datasets import Dataset, Features, Value

from goft_cli.data.table import Table, is_gap, require_columns, texts
from goft_cli.system.errors import GoftError
from goft_cli.tasks.tokens import Tokenizer, text_start

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
SEPARATOR = "\n\n"
QUESTION = "### Instruction:\n{query}\n\n### Response:\n"
COLUMNS = ("instruction", "input", "output")
HOLDOUT_SEED = 0

Ids = list[int]

logger = logging.getLogger(__name__)


def query_of(instruction: str, extra: str) -> str:
    """Join an instruction and its input; this template has no section for the input."""
    return f"{instruction}\n{extra}" if extra else instruction


def encode_prompts(queries: Sequence[str], tokenizer: Tokenizer) -> list[Ids]:
    """Return the ids of everything that comes before the answer."""
    head = text_start(tokenizer)
    for piece in _encode([PREAMBLE, SEPARATOR], tokenizer):
        head += piece
    questions = [QUESTION.format(query=query) for query in queries]
    return [[*head, *ids] for ids in _encode(questions, tokenizer)]


def encode_answers(answers: Sequence[str], tokenizer: Tokenizer) -> list[Ids]:
    """Return the ids of the answers, each with the end of the text."""
    end = end_id(tokenizer)
    return [[*ids, end] for ids in _encode(answers, tokenizer)]


def end_id(tokenizer: Tokenizer) -> int:
    """Return the id of the end of a text."""
    end = cast("int | None", tokenizer.eos_token_id)
    if end is None:
        raise GoftError(
            f"{tokenizer.name_or_path}: its tokenizer has no eos_token, so no answer could ever "
            "end",
            "choose a model that has one",
        )
    return end


def cut(prompt: Ids, answer: Ids, length: int) -> tuple[Ids, Ids]:
    """Cut both at their ends in proportion to their lengths, if together they are too long.

    At least one id of each is left if `length` is at least 2. A cut prompt loses its last words,
    "### Response:" included, as in the reference.
    """
    total = len(prompt) + len(answer)
    if total <= length:
        return prompt, answer
    # the quotient is rounded before the product, as in the reference: 100 * (58 / 200) is below 29
    kept = max(int(length * (len(answer) / total)), 1)
    return prompt[: length - kept], answer[:kept]


def _encode(texts: Sequence[str], tokenizer: Tokenizer) -> list[Ids]:
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def checked_rows(table: Table, *, answered: bool) -> Dataset:
    """Return the checked columns `instruction`, `input`, and with `answered` `output`, in memory.

    The column `input`, and any value of it, may be absent. With `answered`, rows without question
    or answer are left out, as in the reference.
    """
    names = COLUMNS if answered else COLUMNS[:2]
    remedy = "rename the columns, or name yours: 'task.column_aliases={output: response}'"
    require_columns(table, [name for name in names if name != "input"], remedy)
    given = table.columns.get("input", (None for _ in table.columns["instruction"]))
    inputs = ["" if is_gap(value) else value for value in given]
    table = replace(table, columns={**table.columns, "input": inputs})
    columns = {name: texts(table, name, or_gap=not answered) for name in names}
    if answered:
        columns = _whole(columns, table.origin)
    if not columns["instruction"]:
        raise GoftError(f"{table.origin}: no rows", "expected at least one instruction with output")
    return Dataset.from_dict(columns, features=Features({name: Value("string") for name in names}))


def divide(rows: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """Split training rows into the rest and a share, which is the same in every call.

    The share is above 0 and below 1; there is at least one row of each.
    """
    if len(rows) < 2:
        raise GoftError(
            f"task.holdout={share:g}: found {len(rows)} training row, expected at least 2",
            "pass task.holdout=0",
        )
    held = min(max(round(share * len(rows)), 1), len(rows) - 1)
    parts = rows.train_test_split(test_size=held, seed=HOLDOUT_SEED, keep_in_memory=True)
    return parts["train"], parts["test"]


def _whole(columns: dict[str, list[str]], origin: str) -> dict[str, list[str]]:
    """Drop rows without a question or an answer, and log their number."""
    triples = zip(*(columns[name] for name in COLUMNS), strict=True)
    whole = [bool(query_of(first, extra) and answer) for first, extra, answer in triples]
    if all(whole):
        return columns
    logger.warning(
        "%s: %d of %d rows have no instruction or no output and are left out",
        *(origin, whole.count(False), len(whole)),
    )
    return {name: list(compress(column, whole)) for name, column in columns.items()}

"""Rows of words with a tag for each word: CoNLL files, and the checks of any table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, Features, List, Value

from goft_cli.config import TokenClassificationConfig
from goft_cli.config.labels import Labels
from goft_cli.data.cells import AS_JSON, words_in
from goft_cli.data.columns import is_gap
from goft_cli.data.table import Table, require_columns
from goft_cli.system.errors import GoftError

BLANKS, LINE_END = re.compile(" +"), re.compile(r"\r\n|\r|\n")
UNIVERSAL = 10
"""Columns of CoNLL-U: a number, the word, its lemma, its part of speech, and six others."""
NUMBERED = re.compile(r"(\d+)([-.]\d+)?")
"""The number of a word in CoNLL-U, or of a group of words or of a word that was left out."""


def parse_words(text: str, path: Path) -> Table:
    """Read CoNLL's format: one word per line, its tag in the last column, blank lines between rows.

    Of CoNLL-U, the tags are the universal parts of speech. A file with one column has words without
    tags. Lines with -DOCSTART- separate documents; comments begin with # before a row's words.
    """
    columns: dict[str, list[list[str]]] = {"tokens": [], "tags": []}
    starts: list[int] = []
    width, open_ = 0, False
    lines = LINE_END.split(text)
    usual = next((len(fields_of(one)) for one in lines if one.strip() and one[:2] != "# "), 0)
    for number, line in enumerate(lines, start=1):
        fields = fields_of(line)
        if not fields or fields[0] == "-DOCSTART-":
            open_ = False
            continue
        if not open_ and line.startswith("# ") and ("=" in line or len(fields) != usual):
            continue  # a comment
        width = width or len(fields)
        if len(fields) != width:
            raise GoftError(
                f"{path}, line {number}: found {len(fields)} columns, expected {width}, as in the "
                "lines before",
                "correct the line",
            )
        is_universal = width == UNIVERSAL and NUMBERED.fullmatch(fields[0])
        if is_universal and not fields[0].isdigit():
            continue
        if not open_:
            starts.append(number)
            for rows in columns.values():
                rows.append([])
            open_ = True
        word, tag = (fields[1], fields[3]) if is_universal else (fields[0], fields[-1])
        for rows, field_ in zip(columns.values(), (word, tag), strict=True):
            rows[-1].append(field_)
    if not starts:
        raise GoftError(f"{path} is empty", "expected at least one row of data")
    kept = columns if width > 1 else {"tokens": columns["tokens"]}
    return Table(str(path), kept, starts)


def fields_of(line: str) -> list[str]:
    """Return the columns of a line: between tabs if it has any, else between blanks."""
    found = line.strip(" \t") if line.strip() else ""
    parts = found.split("\t") if "\t" in found else BLANKS.split(found)
    return [part.strip(" ") for part in parts if part.strip(" ")]


def checked_rows(table: Table, config: TokenClassificationConfig, *, tagged: bool) -> Dataset:
    """Return the checked words of a table, and with `tagged` their tags, as the task names them."""
    table = table.renamed(config.column_aliases)
    (name,) = config.text_columns
    label, labels = config.label_column, Labels(config.labels)
    remedy = "rename the columns, or name yours with task.text_columns and task.label_column"
    require_columns(table, [name, *([label] if tagged else [])], remedy)
    cells = enumerate(table.columns[name])
    rows = [
        [] if not tagged and is_gap(cell) else words_of(table, name, index, cell)
        for index, cell in cells
    ]
    if not rows:
        raise GoftError(f"{table.origin}: no rows", "expected at least one row of data")
    columns = {name: rows}
    if tagged:
        known = {one: labels.id_of(one) for one in config.labels}
        columns[label] = []
        for index, (words, cell) in enumerate(zip(rows, table.named(label), strict=True)):
            tags = words_in(cell)
            if tags is None or len(tags) != len(words):
                found = f"{len(tags)} of them" if tags is not None else repr(cell)
                raise GoftError(
                    f"{table.place(index)}: {label} is {found}, expected one for each of the "
                    f"{len(words)} words",
                    f"correct the row; {AS_JSON}",
                )
            ids = [
                known[tag] if isinstance(tag, str) and tag in known else labels.id_of(tag)
                for tag in tags
            ]
            if None in ids:
                at = ids.index(None)
                raise GoftError(
                    f"{table.place(index)}: the tag of word {at + 1}, {words[at]!r}, is "
                    f"{tags[at]!r}, expected {labels.expected}"
                )
            columns[label].append([labels.names[one] for one in ids if one is not None])
    return Dataset.from_dict(columns, Features(dict.fromkeys(columns, List(Value("string")))))


def words_of(table: Table, name: str, index: int, cell: object) -> list[str]:
    """Return the words of a row: at least one, and none of them blank."""
    words = words_in(cell)
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise GoftError(
            f"{table.place(index)}: {name} is {cell!r}, expected a list of words, or text with "
            "blanks between them",
            f"correct the row; {AS_JSON}",
        )
    return words


def refuse_single_words(rows: Sequence[Sequence[str]], table: Table) -> None:
    """Refuse training rows of one word each: a file of a word per row is read without sentences."""
    if len(rows) > 1 and max(map(len, rows)) == 1:
        raise GoftError(
            f"{table.origin}: every row has one word, expected a sentence in each row",
            "put the words of a sentence and their tags into lists, or write a .conll file with a "
            "word and its tag on each line and a blank line after each sentence",
        )

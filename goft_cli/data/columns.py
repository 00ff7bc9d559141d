"""Finds the columns of text and label in a user's own table.

It tries well-known names first, then the values. If several columns or none fit, an error lists the
columns and asks the user to name one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from goft_cli.config.labels import Identity, identity, level
from goft_cli.data.cells import AS_JSON
from goft_cli.data.table import Table, is_gap
from goft_cli.system.errors import GoftError

PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("query", "document"),
    ("query", "passage"),
)
"""Names of two columns that are one input."""
TEXTS = (
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "body",
    "message",
    "document",
    "tweet",
    "post",
    "description",
    "abstract",
    "utterance",
    "question",
    "query",
    "title",
    "headline",
    "summary",
    "input",
)
"""Names of a column of text, the most telling first."""
LABELS = (
    "label",
    "labels",
    "target",
    "class",
    "category",
    "sentiment",
    "intent",
    "emotion",
    "topic",
    "stars",
    "rating",
    "score",
    "grade",
    "genre",
    "tag",
    "tags",
    "type",
    "y",
    "gold_label",
)
"""Names of a column of labels, the most telling first."""
TOKENS = ("tokens", "words", "token", "word", "text", "sentence")
TAGS = ("tags", "ner_tags", "labels", "ner", "pos_tags", "pos", "upos", "tag", "label")
"""Names of columns of tags, one for each word."""
MANY_CLASSES = 0.5
"""Distinct values per row from which on a column does not hold labels."""
OTHER_LABEL = "name another column with label=COLUMN"
FEW_CLASSES = 20
"""Number of classes that is accepted in a file of any size."""
SHORT = 60
"""Largest mean length of labels, in characters."""


def find_text(table: Table, label: str | None) -> list[str]:
    """Return the column of text, or the two columns of a text pair; never `label`."""
    names = {level(name): name for name in table.columns if name != label}
    for pair in PAIRS:
        if all(name in names for name in pair):
            return [names[name] for name in pair]
    for name in TEXTS:
        if name in names:
            return [names[name]]
    lengths = {name: mean_length(list(table.columns[name])) for name in names.values()}
    wordy = {name: length for name, length in lengths.items() if length > 0}
    if not wordy:
        raise GoftError(
            f"{table.origin}: the table has no column of text; found {described(table)}",
            "name it with text=COLUMN",
        )
    return [max(wordy, key=lambda name: wordy[name])]


def mean_length(values: Sequence[Any]) -> float:
    """Return the mean length of texts in characters; 0 for a column of numbers or other things."""
    texts = [value for value in values if isinstance(value, str) and not is_gap(value)]
    words = [text for text in texts if isinstance(identity(text), str)]
    return sum(map(len, words)) / len(words) if 2 * len(words) > len(values) else 0.0


def find_named(table: Table, names: Sequence[str], key: str) -> str:
    """Return the column with the first of the well-known names that is there."""
    found = {level(name): name for name in table.columns}
    for name in names:
        if name in found:
            return found[name]
    raise GoftError(
        f"{table.origin}: found {described(table)}, expected one of {', '.join(names[:4])}",
        f"name it with {key}=COLUMN",
    )


def find_label(table: Table, text: Sequence[str], remedy: str = "name it with label=COLUMN") -> str:
    """Return the column of labels, which is none of the text."""
    names = {level(name): name for name in table.columns if name not in text}
    for name in LABELS:
        if name in names:
            return names[name]
    likely = [name for name in names.values() if looks_like_labels(list(table.columns[name]))]
    if len(likely) != 1:
        found = f"{' and '.join(likely)} may all be" if likely else "no column looks like"
        raise GoftError(
            f"{table.origin}: {found} the label; found {described(table)}",
            remedy,
        )
    if identity(likely[0]) in map(identity, table.columns[likely[0]]):
        raise GoftError(
            f"{table.origin}: {likely[0]!r} is the name of a column and a label in it, so the "
            "first row seems to be data",
            f"add a row with the columns' names, or pass label={likely[0]} if the row has them",
        )
    return likely[0]


def looks_like_labels(values: Sequence[Any]) -> bool:
    """Tell whether values are few, short and repeated."""
    found = [
        identity_of_text(value) if isinstance(value, str) else identity(value) for value in values
    ]
    kinds = Counter(value for value in found if value is not None)
    length = sum(len(str(value)) * count for value, count in kinds.items())
    few = 2 <= len(kinds) <= max(2, MANY_CLASSES * len(values))
    return few and length <= SHORT * max(1, kinds.total())


identity_of_text = lru_cache(maxsize=4096)(identity)
"""`identity`, cached because labels repeat."""


def aliases_of(table: Table, known: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return a table's names of the task's columns, where they differ from the task's own.

    `known` has the accepted names of each column; one column of the table is used at most once.
    """
    names = {level(name): name for name in table.columns}
    taken: dict[str, str] = {}
    for wanted, others in known.items():
        free = (names[name] for name in others if name in names)
        found = next((name for name in free if name not in taken.values()), None)
        if found is not None:
            taken[wanted] = found
    return {wanted: found for wanted, found in taken.items() if wanted != found}


def described(table: Table) -> str:
    """Return the names of a table's columns for an error message."""
    return ", ".join(map(repr, table.columns)) or "no columns"


def require_column(table: Table, name: str, key: str) -> None:
    """Refuse a column that the user named and the table does not have."""
    if name not in table.columns:
        raise GoftError(
            f"{key}={name}: {table.origin} has no such column; found {described(table)}",
            f"pass {key}=COLUMN with one of them",
        )


def one_label_each(table: Table, column: str, read: Callable[[object], list[Any] | None]) -> Table:
    """Return a table with one row for each value that `read` finds in a cell."""
    flat: list[tuple[int, Any]] = []
    for index, cell in enumerate(table.columns[column]):
        found = read(cell)
        if found is None and not is_gap(cell):
            raise GoftError(
                f"{table.place(index)}: {column} is {cell!r}, expected a list of names", AS_JSON
            )
        flat += [(index, label) for label in found or []]
    places = [table.place(index).removeprefix(f"{table.origin}, ") for index, _ in flat]
    names = {column: table.label_names[column]} if column in table.label_names else {}
    return Table(table.origin, {column: [one for _, one in flat]}, names=places, label_names=names)


def label_names(table: Table, column: str, remedy: str = OTHER_LABEL) -> list[str]:
    """Return the classes of a column: numbers by value, names in alphabetical order.

    The order does not depend on that of the rows. Label names that the data set defines keep their
    order.
    """
    if names := table.label_names.get(column):
        return list(names)
    spelled: dict[Identity, str] = {}
    cells = {index: value for index, value in enumerate(table.columns[column]) if not is_gap(value)}
    for index, value in cells.items():
        what = identity_of_text(value) if isinstance(value, str) else identity(value)
        if what is None:
            raise GoftError(
                f"{table.place(index)}: {column} is {value!r}, expected a label",
                "pass task=own/multilabel"
                if isinstance(value, list) and table.names is None
                else "correct the row",
            )
        spelled.setdefault(what, spelling(what, value))
    if len(spelled) < 2:
        only = next(iter(spelled.values()), None)
        found = "no label at all" if only is None else f"the label {only!r} in every row"
        raise GoftError(
            f"{table.origin}: column {column} holds {found}, expected at least two different ones",
            remedy,
        )
    if len(spelled) > max(FEW_CLASSES, MANY_CLASSES * len(cells)):
        raise GoftError(
            f"{table.origin}: column {column} holds {len(spelled):,} different values in "
            f"{len(cells):,} rows, too many for classes",
            f"pass task=own/regression if they are numbers to predict; else {remedy}",
        )
    numbers = sorted(what for what in spelled if isinstance(what, Decimal))
    words = sorted((what for what in spelled if isinstance(what, str)), key=lambda w: (level(w), w))
    return [spelled[what] for what in [*numbers, *words]]


def spelling(what: Identity, value: object) -> str:
    """Return the name of a label as it is spelled, but `5` for a spreadsheet's `5.0`."""
    if isinstance(value, str) and "." in value and isinstance(what, Decimal):
        return str(int(what)) if what == int(what) else str(what.normalize())
    if isinstance(value, str):
        return what if isinstance(what, str) else value.strip()
    return str(value).lower() if isinstance(value, bool) else spelling(what, str(value))

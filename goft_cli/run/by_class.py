"""The table of `classes.json` and the sentence on the baseline; showing them imports no library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from goft_cli.system.tables import Table

SHOWN_CLASSES, MATRIX_CLASSES = 50, 5
"""The most classes that get a line each on the screen, and the most with a confusion matrix."""
LONG_NAME = 4
"""The longest class name, in letters, above a column of that matrix."""


def describe_baseline(metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence if the headline is no better than that of a constant answer."""
    baseline, headline = metrics.get("baseline"), metrics["headline"]
    if not baseline or baseline["beaten"]:
        return []
    found = f"{headline['name']} is {headline['value']:.4f}"
    same = f"always answering {baseline['answer']} gives {baseline['value']:.4f}"
    return [f"no better than a constant answer: {found}, and {same}"]


def class_table(found: Mapping[str, Any]) -> Table:
    """Lay out `classes.json`: the scores of each class, and what its rows were mistaken for.

    With few classes the table has the confusion matrix, its columns numbered if names are long;
    with more it has the most frequent wrong prediction; with sets of labels it has neither.
    """
    classes, confusion = found["classes"], found["confusion"]
    whole = bool(confusion) and len(classes) <= MATRIX_CLASSES
    numbered = whole and max(map(len, classes)) > LONG_NAME
    names = {name: f"{n} {name}" if numbered else name for n, name in enumerate(classes, start=1)}
    rows = []
    for name, one in classes.items():
        taken = confusion.get(name, {})
        wrong = sorted((-count, other) for other, count in taken.items() if other != name)
        scores = [f"{one[key]:.3f}" for key in ("precision", "recall", "f1")]
        row = [names[name], *scores, f"{one['support']:,}"]
        row += [f"{taken.get(other, 0):,}" for other in classes] if whole else []
        mostly = f"{wrong[0][1]} ({-wrong[0][0]:,})" if wrong else None
        rows.append(row if whole or not confusion else [*row, mostly])
    columns = ["class", "precision", "recall", "F1", "rows"]
    columns += [f"as {name.split()[0] if numbered else name}" for name in names.values()] * whole
    columns += ["mostly taken for"] * (bool(confusion) and not whole)
    layout = f"frrrr{'r' if whole else 'f'}"[: len(columns)]
    return Table(columns, rows, f"{found['split']} by class", layout, framed=False)

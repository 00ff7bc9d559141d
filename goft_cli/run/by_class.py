"""What `classes.json` and the baseline say to people; no library is needed to show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from goft_cli.system.tables import Table

SHOWN_CLASSES, MATRIX_CLASSES = 50, 5
"""Up to how many classes the screen shows a line for each, and beside it the confusion matrix."""
LONG_NAME = 4
"""Letters of a class above the columns of that matrix."""


def describe_baseline(metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence where the headline is no better than that of one answer to every row."""
    baseline, headline = metrics.get("baseline"), metrics["headline"]
    if not baseline or baseline["beaten"]:
        return []
    found = f"{headline['name']} is {headline['value']:.4f}"
    same = f"always answering {baseline['answer']} gives {baseline['value']:.4f}"
    return [f"no better than a constant answer: {found}, and {same}"]


def class_table(found: Mapping[str, Any]) -> Table:
    """Lay out `classes.json`: the scores of each class, and what its rows were taken for.

    Of a few classes that is the confusion matrix, whose columns are numbered where names are long;
    of more it is the class that most of the wrong ones were taken for. Of sets it is nothing.
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

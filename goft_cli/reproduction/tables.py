"""A comparison as tables in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from goft_cli.reproduction.comparison import INSIDE, OUTSIDE, RULE, Comparison
from goft_cli.studies.leaderboard import mean_and_deviation
from goft_cli.studies.recipes import read_recipe
from goft_cli.system.tables import Table, styled

COLUMNS = ("result", "measure", "ours", "n", "paper", "off by", "verdict")
STYLES = {INSIDE: "green", OUTSIDE: "yellow"}


def distinct_obstacles(found: Sequence[Comparison]) -> list[str]:
    """Return each reason not to compare, once."""
    return list(dict.fromkeys(one.obstacle for one in found if one.obstacle))


def cells_of(one: Comparison, reasons: Sequence[str]) -> list[str]:
    """Return one line of the table; a reason is named by its number."""
    mark = f" ({reasons.index(one.obstacle) + 1})" if one.obstacle else ""
    return [
        one.cell,
        one.measure.replace("_", " "),
        mean_and_deviation(list(one.ours.values()), one.digits),
        str(len(one.ours)),
        "" if one.paper is None else f"{one.paper:.{one.digits}f}",
        "" if one.difference is None else f"{one.difference:+.{one.digits}f}",
        one.verdict + mark,
    ]


def footnotes(found: Sequence[Comparison]) -> list[str]:
    """Return the numbered reasons, what the recipes note, and the rule of the verdict."""
    reasons = [
        f"({index}) {reason}" for index, reason in enumerate(distinct_obstacles(found), start=1)
    ]
    names = dict.fromkeys(one.recipe for one in found)
    notes = dict.fromkeys(note for name in names for note in read_recipe(name).notes)
    rule = [RULE] if any(one.verdict in STYLES for one in found) else []
    return [*reasons, *notes, *rule]


def result_tables(found: Sequence[Comparison]) -> list[Table]:
    """Lay out a comparison for the terminal: a table per measure, a section per recipe."""
    reasons, shared = distinct_obstacles(found), common_folder(found)
    rows: dict[str, list[Sequence[str]]] = {}
    for _, group in groupby(found, key=lambda one: one.recipe):
        for earlier in rows.values():
            earlier.append([])
        for one in group:
            name, measure, *cells = cells_of(one, reasons)
            name, style = name.removeprefix(f"{shared}/"), STYLES.get(one.verdict, "")
            rows.setdefault(measure, []).append(styled(style, name, *cells))
    columns = [name for name in COLUMNS if name != "measure"]
    return [
        Table(columns, lines, ": ".join(filter(None, (shared, measure))), "fRRRRw")
        for measure, lines in rows.items()
    ]


def common_folder(found: Sequence[Comparison]) -> str:
    """Return what the names of all recipes begin with."""
    return posixpath.commonpath([one.recipe for one in found])


def as_markdown(target: str, found: Sequence[Comparison]) -> str:
    """Lay out a comparison for a document."""
    reasons = distinct_obstacles(found)
    body = Table(COLUMNS, [cells_of(one, reasons) for one in found]).markdown()
    notes = "".join(f"- {note}\n" for note in footnotes(found))
    return f"# {target}: ours against the paper's\n\n{body}\n\n{notes}\n![](result.png)\n"


def as_plain(target: str, found: Sequence[Comparison]) -> dict[str, Any]:
    """Return a comparison as JSON holds it."""
    derived = ("mean", "deviation", "difference", "verdict")
    rows = [asdict(one) | {name: getattr(one, name) for name in derived} for one in found]
    return {"target": target, "rule": RULE, "results": rows}

"""One line of the table: what was checked, whether it holds, what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goft_cli.runs.provenance import Change

SHOWN_CHANGES = 3


class Verdict(Enum):
    """Whether a record agrees with what is there."""

    holds = "holds"
    fails = "does not hold"
    unknown = "not recorded"


STYLES = {Verdict.holds: "green", Verdict.fails: "bold red", Verdict.unknown: "yellow"}


@dataclass(frozen=True)
class Finding:
    """One check's outcome; `found` says it in a sentence or less."""

    subject: str
    verdict: Verdict
    found: str


def judged(subject: str, found: str, *, holds: bool) -> Finding:
    """Make a finding of a comparison."""
    return Finding(subject, Verdict.holds if holds else Verdict.fails, found)


def unrecorded(subject: str, found: str = "an earlier version of goft wrote this run") -> Finding:
    """Make a finding of what the run has no record of."""
    return Finding(subject, Verdict.unknown, found)


def of_files(subject: str, recorded: Sequence[str], changes: Sequence[Change]) -> Finding:
    """Make a finding of files: all agree, or the first that do not."""
    if not recorded:
        return unrecorded(subject)
    if not changes:
        return judged(subject, summary(recorded), holds=True)
    more = f"; and {len(changes) - SHOWN_CHANGES} more" if len(changes) > SHOWN_CHANGES else ""
    return judged(subject, "; ".join(map(str, changes[:SHOWN_CHANGES])) + more, holds=False)


def summary(names: Sequence[str]) -> str:
    """Name a few files, or count them."""
    return ", ".join(names) if len(names) <= SHOWN_CHANGES else f"{len(names)} files"


def all_hold(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing failed; what was not recorded fails nothing."""
    return all(finding.verdict is not Verdict.fails for finding in findings)


def show(title: str, findings: Sequence[Finding]) -> None:
    """Print the table of one run."""
    table = Table(title=escape(title), title_justify="left")
    for column in ("", "check", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        style = STYLES[finding.verdict]
        mark = f"[{style}]{finding.verdict.value}[/]"
        table.add_row(mark, escape(finding.subject), escape(finding.found))
    Console(highlight=False).print(table)

"""What a check found, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.table import Table

from goft_cli.errors import GoftError


class Verdict(Enum):
    """`mend` stops or spoils the run, `note` is worth knowing, `ok` needs nothing."""

    ok = "ok"
    note = "note"
    mend = "mend"


STYLES = {Verdict.ok: "green", Verdict.note: "yellow", Verdict.mend: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        subject: what was checked.
        verdict: how bad it is.
        found: what there is, in a sentence or less.
        remedy: the command or words that mend it; empty if nothing is to mend.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def refused(subject: str, error: GoftError) -> Finding:
    """Take a refusal apart: what is wrong and, after its last semicolon, what to do."""
    found, _, remedy = str(error).rpartition("; ")
    return Finding(subject, Verdict.mend, found or remedy, remedy)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing would stop the run."""
    return all(finding.verdict is not Verdict.mend for finding in findings)


def show(findings: Sequence[Finding]) -> None:
    """Print a table of the findings, and below it how to mend them."""
    screen = Console(highlight=False)
    table = Table(title="goft doctor")
    for column in ("", "check", "found"):
        table.add_column(column)
    for finding in findings:
        style = STYLES[finding.verdict]
        mark = f"[{style}]{finding.verdict.value}[/]"
        table.add_row(mark, finding.subject, finding.found.replace("[", r"\["))
    screen.print(table)
    for finding in findings:
        if finding.remedy:
            screen.print(f"{finding.subject}: {finding.remedy}", soft_wrap=True, markup=False)
    if is_healthy(findings):
        screen.print("nothing would stop this run")

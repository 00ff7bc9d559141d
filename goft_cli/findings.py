"""What a check found, and how to mend it: the lines of `goft doctor` and `goft verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Console

from goft_cli.errors import GoftError
from goft_cli.studies.tables import Table, styled


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
    """Return the finding of a refusal; one without a remedy says what to do in the problem."""
    return Finding(subject, Verdict.mend, error.problem, error.remedy or error.problem)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is to mend."""
    return all(finding.verdict is not Verdict.mend for finding in findings)


def table_of(
    title: str, findings: Sequence[Finding], words: Mapping[Verdict, str] | None = None
) -> Table:
    """Return a row per finding; `words` say what a verdict is called, where not by its name."""
    names = {verdict: verdict.value for verdict in Verdict} | dict(words or {})
    rows = [
        (*styled(STYLES[one.verdict], names[one.verdict]), one.subject, one.found)
        for one in findings
    ]
    return Table(["", "check", "found"], rows, title, "f", centred=False)


def show_remedies(findings: Sequence[Finding], screen: Console) -> None:
    """Print how to mend what was found."""
    for finding in findings:
        if finding.remedy:
            screen.print(f"{finding.subject}: {finding.remedy}", soft_wrap=True, markup=False)

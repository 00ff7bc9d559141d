"""One line of the table: what was checked, whether it holds, what was found."""

from __future__ import annotations

from collections.abc import Sequence

from goft_cli.run.provenance import Change
from goft_cli.system.tables import Finding, Verdict

SHOWN_CHANGES = 3


WORDS = {
    Verdict.ok: "holds",
    Verdict.mend: "does not hold",
    Verdict.note: "not recorded",
}
"""What a verdict is called of a record; what was not recorded fails nothing."""


def judged(subject: str, found: str, *, holds: bool) -> Finding:
    """Make a finding of a comparison."""
    return Finding(subject, Verdict.ok if holds else Verdict.mend, found)


def unrecorded(subject: str, found: str = "the run has no record to compare with") -> Finding:
    """Make a finding of what the run has no record of."""
    return Finding(subject, Verdict.note, found)


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

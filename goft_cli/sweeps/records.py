"""What a sweep knows of its jobs: one record each, in the sweep's folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.system.files import read_json, write_json

RECORD = "job.json"
LEADERBOARD = "leaderboard.csv"


class State(StrEnum):
    """How far a job got."""

    running = "running"
    finished = "finished"
    kept = "kept"
    """Its run was finished before the sweep started."""
    failed = "failed"


@dataclass(frozen=True)
class JobRecord:
    """One job of a sweep."""

    number: int
    words: str
    """Its own overrides, as they could be typed for this job alone."""
    state: State = State.running
    run: str | None = None
    """Its run folder, if it trains."""
    sentence: str = ""
    """Why it failed."""


def write_record(job_dir: Path, record: JobRecord) -> None:
    """Write the record, replacing the one before."""
    write_json(job_dir / RECORD, asdict(record))


def read_records(sweep_dir: Path) -> list[JobRecord]:
    """Return the records there are, by number."""
    found = [read_json(path) for path in sweep_dir.glob(f"*/{RECORD}")]
    records = [replace(JobRecord(**entry), state=State(entry["state"])) for entry in found]
    return sorted(records, key=lambda record: record.number)


def forget_records(sweep_dir: Path) -> None:
    """Drop what an earlier start of the sweep recorded; the runs themselves stay."""
    for path in sweep_dir.glob(f"*/{RECORD}"):
        path.unlink()


def results(records: Iterable[JobRecord]) -> list[RunRecord]:
    """Return the finished runs of a sweep."""
    done = {State.finished, State.kept}
    runs = [record.run for record in records if record.state in done and record.run]
    return [RunRecord(RunFolder(Path(run))) for run in dict.fromkeys(runs)]

"""A sweep as a whole: its folder, its progress on the screen, its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from goft_cli.compose.composition import folder_name
from goft_cli.compose.flags import read_flags
from goft_cli.studies.jobs import (
    LEADERBOARD,
    JobRecord,
    State,
    finished_records,
    forget_records,
    read_records,
)
from goft_cli.studies.leaderboard import leaderboard_table, write_csv
from goft_cli.system.errors import FAILED_JOBS, GoftError

POLL_SECONDS = 0.5
OPTUNA = "hydra/sweeper=optuna"
screen = Console()


class SweepError(GoftError):
    """Jobs of a sweep failed."""

    exit_code = FAILED_JOBS


@contextmanager
def sweeping(words: Sequence[str]) -> Iterator[list[str]]:
    """Show the progress of the jobs, raise if some failed; yield the words to add for Hydra."""
    overrides = read_flags(words).overrides
    added, sweep_dir = sweep_folder(overrides)
    added += optuna_words(overrides)
    fixed = fixed_keys(overrides)
    forget_records(sweep_dir)
    ended = threading.Event()
    watcher = threading.Thread(target=watch, args=(sweep_dir, fixed, ended), daemon=True)
    watcher.start()
    try:
        yield added
    except ValueError:
        # of a sweeper that searches and got no result; the failed jobs say why
        if not failures(read_records(sweep_dir)):
            raise
    finally:
        ended.set()
        watcher.join()
    conclude(sweep_dir, fixed)


def sweep_folder(overrides: Sequence[str]) -> tuple[list[str], Path]:
    """Return the override that names the sweep's folder, if the words do not, and the folder.

    It depends on the words but not on their order, so that the same sweep finds its folder.
    """
    for word in overrides:
        key, _, value = word.partition("=")
        if key == "hydra.sweep.dir":
            return [], Path(value.strip("'\""))
    own = [word.lstrip("+") for word in overrides if not word.startswith("hydra")]
    folder = Path("outputs", "sweeps", folder_name(",".join(sorted(own)) or "default"))
    return [f"hydra.sweep.dir='{folder}'"], folder


def optuna_words(overrides: Sequence[str]) -> list[str]:
    """Return the words that Optuna needs beside a user's: else it minimizes, with other trials."""
    keys = {word.lstrip("+").partition("=")[0] for word in overrides}
    added: list[str] = []
    if OPTUNA not in overrides:
        return added
    if "hydra.sweeper.direction" not in keys:
        added.append("hydra.sweeper.direction='${direction:${task.greater_is_better}}'")
    if not keys & {"hydra/sweeper/sampler", "hydra.sweeper.sampler.seed"}:
        added.append("hydra.sweeper.sampler.seed=0")
    return added


def fixed_keys(overrides: Sequence[str]) -> set[str]:
    """Return the keys that are the same for every job."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.key_or_group for override in parsed if not override.is_sweep_override()}


def job_name(record: JobRecord, fixed: set[str]) -> str:
    """Name a job by its number and the words that are its own."""
    words = record.words.split()
    own = [word for word in words if word.lstrip("+~").partition("=")[0] not in fixed]
    return f"job {record.number} ({' '.join(own)})"


def watch(sweep_dir: Path, fixed: set[str], ended: threading.Event) -> None:
    """Show each job as it starts and ends, and the leaderboard as it grows, until the end.

    The records are polled, since a job may run on another machine.
    """
    shown: dict[int, State] = {}
    over = False
    while not over:
        over = ended.wait(POLL_SECONDS)
        records = read_records(sweep_dir)
        news = [record for record in records if shown.get(record.number) is not record.state]
        if news and not shown:
            say(f"sweep: {sweep_dir}; the same command again runs only what is missing")
        for record in news:
            shown[record.number] = record.state
            show_state(record, job_name(record, fixed))
        ended_now = any(record.state is State.finished for record in news)
        if not over and ended_now and (found := finished_records(records)):
            screen.print(leaderboard_table(found))


def show_state(record: JobRecord, named: str) -> None:
    """Print one line on a job."""
    said = {
        State.running: "started",
        State.finished: f"finished, {record.run}" if record.run else "finished",
        State.kept: f"finished earlier, kept: {record.run}",
        State.failed: f"failed: {record.sentence}",
    }
    say(f"{named} {said[record.state]}", style="red" if record.state is State.failed else None)


def say(sentence: str, style: str | None = None) -> None:
    """Print a sentence without markup."""
    screen.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)


def failures(records: Sequence[JobRecord]) -> list[JobRecord]:
    """Return the jobs that failed."""
    return [record for record in records if record.state is State.failed]


def conclude(sweep_dir: Path, fixed: set[str]) -> None:
    """Show the whole leaderboard, count the jobs by state, and raise if some failed."""
    records = read_records(sweep_dir)
    if found := finished_records(records):
        write_csv(sweep_dir / LEADERBOARD, found)
        screen.print(leaderboard_table(found))
        say(f"leaderboard: {sweep_dir / LEADERBOARD}")
    states = [record.state for record in records]
    counted = (f"{states.count(state)} {state.value}" for state in State if state in states)
    failed = failures(records)
    code = f"; exit code {FAILED_JOBS}" if failed else ""
    say(f"{len(records)} jobs: {', '.join(counted)}{code}")
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(records)} jobs failed, first {job_name(failed[0], fixed)}: "
            f"{failed[0].sentence}",
            "the same command runs what is missing",
        )

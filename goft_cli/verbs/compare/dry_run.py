"""What `goft compare dry_run=true` says: which runs there would be, and how long they take."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from goft_cli.config import CompareConfig, PlanConfig, TrainConfig
from goft_cli.run.configuration import settings
from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.run.summary import screen
from goft_cli.system.errors import GoftError
from goft_cli.system.imports import importing
from goft_cli.verbs.compare.runs import PlannedRun, compose_runs, is_done
from goft_cli.verbs.compare.tuning import RATE, SPLITS, Search

VARIED = {"seed", RATE, *SPLITS}
"""Settings on which the time of a run does not depend, or little."""
AROUND = 12.0
"""Seconds of a run outside of its training: imports, model and rows, the checks at its end."""
Runs = Mapping[str, Sequence[PlannedRun]]


def show(cfg: CompareConfig, search: Search | None, runs: Runs) -> None:
    """Print the commands of the runs that are missing, how many they are, and their time.

    `runs` are those to compare, before the tuning; their rates are known when that is finished.
    """
    trials, more = missing_trials(search) if search else ([], 0)
    say(f"{len(trials)} trials to run", trials)
    if more:
        screen.print(f"at most {more} trials more, where a best rate is at the edge of the grid")
    if search and not trials:
        found = search.final_words().items()
        runs = {name: compose_runs(words, name, cfg.seed_list()) for name, words in found}
    last = [run for several in runs.values() for run in several if trials or not is_done(run)]
    if trials:
        screen.print(f"{len(last)} runs to compare, with the learning rates that are chosen")
    else:
        say(f"{len(last)} runs to compare", last)
    counts = Counter(run.cfg.adapter.name for run in (*trials, *last))
    show_time(cfg, counts, more, {name: several[0].cfg for name, several in runs.items()})


def say(what: str, runs: Sequence[PlannedRun]) -> None:
    """Print what some runs are, and the command of each."""
    screen.print(what, highlight=False)
    for run in runs:
        screen.print(f"  {run.command}", markup=False, highlight=False, soft_wrap=True)


def missing_trials(search: Search) -> tuple[list[PlannedRun], int]:
    """Return the trials to run before it is known which others are, and how many may follow."""
    while wanted := search.next_runs():
        missing = [run for runs in wanted.values() for run in runs if not is_done(run)]
        if missing:
            return missing, search.may_add
    return [], 0


def show_time(
    cfg: CompareConfig, counts: Mapping[str, int], more: int, runs: Mapping[str, TrainConfig]
) -> None:
    """Print how long so many runs of each adapter take, and `more` of all adapters alike."""
    wanted = {name: one for name, one in runs.items() if counts.get(name) or more}
    seconds = {name: measured(one) for name, one in wanted.items()}
    source = "finished runs"
    if None in seconds.values():
        source = "goft plan calibrate=true"
        seconds = {name: known or planned(wanted[name]) for name, known in seconds.items()}
    if not wanted:
        return
    unknown = [name for name, found in seconds.items() if found is None]
    if unknown:
        screen.print(f"nothing tells how long {', '.join(unknown)} would train")
        return
    each = {name: (found or 0.0) + AROUND for name, found in seconds.items()}
    least = sum(each[name] * count for name, count in counts.items())
    most = least + sum(each.values()) * more / len(runs)
    span = f"{least / 60:.0f}" if not more else f"{least / 60:.0f} to {most / 60:.0f}"
    screen.print(
        f"about {span} minutes: training as {source} tell, and {AROUND:.0f} s a run for its start "
        "and its checks",
        highlight=False,
    )


def measured(cfg: TrainConfig) -> float | None:
    """Return the median training time of finished runs that differ in rate, seed and split only."""
    wanted = {key: value for key, value in settings(cfg).items() if key not in VARIED}
    found = []
    for path in Path(cfg.output_dir).parent.glob("*/metrics.json"):
        record = RunRecord(RunFolder(path.parent))
        try:
            there = {key: value for key, value in settings(record.cfg).items() if key not in VARIED}
            if there == wanted:
                found.append(record.train_seconds)
        except (GoftError, KeyError):  # of another version, or damaged: it tells nothing
            continue
    return statistics.median(found) if found else None


def planned(cfg: TrainConfig) -> float | None:
    """Return the seconds of training that `goft plan` forecasts for a run."""
    with importing(packed=cfg.model.quantization is not None):
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.plan.forecast import make_plan

    given = {entry.name: getattr(cfg, entry.name) for entry in fields(TrainConfig)}
    with quiet_libraries():
        return make_plan(PlanConfig(**given, calibrate=True)).train_seconds

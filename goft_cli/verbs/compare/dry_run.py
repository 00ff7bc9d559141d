"""`goft compare dry_run=true`: print the missing runs and how long they would take."""

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
from goft_cli.verbs.compare.runs import PlannedRun, Runs, compose_runs, is_done
from goft_cli.verbs.compare.tuning import RATE, SPLITS, Search

VARIED = {"seed", RATE, *SPLITS}
"""Settings on which the time of a run hardly depends."""
IN_A_TRIAL, IN_A_RUN = 2.0, 8.0
"""Seconds outside of training for a trial and for a run: loading model and rows, checks at the end,
and the imports, which trials share. Measured on the demo; a large model takes longer."""


def show(cfg: CompareConfig, search: Search | None, runs: Runs) -> None:
    """Print the commands of the runs that are missing, how many they are, and their time.

    `runs` are those to compare, before the tuning; their rates are known when the tuning is
    finished.
    """
    trials, more = missing_trials(search) if search else ([], 0)
    if search:
        say(f"trials to run: {len(trials)}", trials)
    if more:
        screen.print(f"further trials: at most {more}, if a best rate is at an edge of the grid")
    if search and not trials:
        found = search.final_words().items()
        runs = {name: compose_runs(words, name, cfg.seed_list()) for name, words in found}
    last = [run for several in runs.values() for run in several if trials or not is_done(run)]
    if trials:
        screen.print(f"runs to compare: {len(last)}, with the learning rates that are chosen")
    else:
        say(f"runs to compare: {len(last)}", last)
    show_time(trials, last, more, {name: several[0].cfg for name, several in runs.items()})
    if cfg.retain is not None:
        screen.print("measuring forgetting takes additional time", highlight=False)


def say(what: str, runs: Sequence[PlannedRun]) -> None:
    """Print a heading and the command of each run."""
    screen.print(what, highlight=False)
    for run in runs:
        screen.print(f"  {run.command}", markup=False, highlight=False, soft_wrap=True)


def missing_trials(search: Search) -> tuple[list[PlannedRun], int]:
    """Return the trials to run next, and how many more may follow from their scores."""
    while wanted := search.next_runs():
        missing = [run for runs in wanted.values() for run in runs if not is_done(run)]
        if missing:
            return missing, search.may_add
    return [], 0


def show_time(
    trials: Sequence[PlannedRun],
    last: Sequence[PlannedRun],
    more: int,
    cfgs: Mapping[str, TrainConfig],
) -> None:
    """Print how long trials and runs take; `more` trials may follow, spread over the adapters."""
    counts = Counter(run.adapter for run in (*trials, *last))
    wanted = {name: cfg for name, cfg in cfgs.items() if counts[name]}
    seconds = {name: median_train_seconds(cfg) for name, cfg in wanted.items()}
    source = "finished runs"
    if None in seconds.values():
        source = "goft plan calibrate=true"
        seconds = {name: known or forecast_seconds(wanted[name]) for name, known in seconds.items()}
    known = {name: found for name, found in seconds.items() if found is not None}
    if unknown := [name for name in wanted if name not in known]:
        screen.print(f"the training time of {', '.join(unknown)} is unknown")
    elif known:
        least = sum(known[name] * counts[name] for name in known)
        least += IN_A_TRIAL * len(trials) + IN_A_RUN * len(last)
        most = least + more * (statistics.mean(known.values()) + IN_A_TRIAL)
        span = " to ".join(dict.fromkeys(f"{end / 60:.0f}" for end in (least, most)))
        screen.print(f"about {span} minutes, estimated by {source}", highlight=False)


def median_train_seconds(cfg: TrainConfig) -> float | None:
    """Return the median training time of finished runs that differ in rate, seed and split only."""
    wanted = {key: value for key, value in settings(cfg).items() if key not in VARIED}
    found = []
    for path in Path(cfg.output_dir).parent.glob("*/metrics.json"):
        record = RunRecord(RunFolder(path.parent))
        try:
            there = {key: value for key, value in settings(record.cfg).items() if key not in VARIED}
            if there == wanted:
                found.append(record.train_seconds)
        except (GoftError, KeyError):  # a run of another version, or a damaged one
            continue
    return statistics.median(found) if found else None


def forecast_seconds(cfg: TrainConfig) -> float | None:
    """Return the seconds of training that `goft plan` forecasts for a run."""
    with importing(packed=cfg.model.quantization is not None):
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.plan.forecast import make_plan

    given = {entry.name: getattr(cfg, entry.name) for entry in fields(TrainConfig)}
    with quiet_libraries():
        return make_plan(PlanConfig(**given, calibrate=True)).train_seconds

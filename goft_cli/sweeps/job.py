"""One job of a sweep, in whatever process its launcher runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig

from goft_cli.compose.refusals import describe
from goft_cli.config import TrainConfig
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import is_reusable
from goft_cli.run.record import RunRecord
from goft_cli.sweeps.devices import gpus, own_gpu
from goft_cli.sweeps.isolation import Outcome, Surroundings, free_port, isolated
from goft_cli.sweeps.leaderboard import write_csv
from goft_cli.sweeps.records import (
    LEADERBOARD,
    JobRecord,
    State,
    read_records,
    results,
    write_record,
)

ConfigT = TypeVar("ConfigT")


def swept(compose: Callable[[], ConfigT], job: Callable[[ConfigT], object]) -> float | None:
    """Run one job of a sweep and record how it went; never raise what is the job's own error.

    Args:
        compose: gives the job's configuration, or raises what is wrong with it.
        job: a function of a module, given the configuration in a process of its own.

    Returns:
        the headline of a finished training, for a sweeper that searches; else None.
    """
    settings = HydraConfig.get()
    job_dir = Path(settings.runtime.output_dir)
    record = JobRecord(settings.job.num, " ".join(settings.overrides.task))
    try:
        cfg = compose()
    except Exception as error:
        sentence, _ = describe(error, [verb(), *settings.overrides.task])
        write_record(job_dir, replace(record, state=State.failed, sentence=sentence))
        return None
    record = replace(record, run=cfg.output_dir if isinstance(cfg, TrainConfig) else None)
    record = perform(record, job_dir, cfg, job)
    write_record(job_dir, record)
    write_csv(job_dir.parent / LEADERBOARD, results(read_records(job_dir.parent)))
    return headline(record)


def perform(
    record: JobRecord, job_dir: Path, cfg: ConfigT, job: Callable[[ConfigT], object]
) -> JobRecord:
    """Keep a finished run, or else run the job; return the record of how it ended."""
    try:
        if isinstance(cfg, TrainConfig) and is_reusable(cfg):
            return replace(record, state=State.kept)
        write_record(job_dir, record)
        outcome = started(job_dir, cfg, job)
    except Exception as error:
        sentence, code = describe(error, [verb()])
        outcome = Outcome(code, sentence)
    if outcome.code:
        return replace(record, state=State.failed, sentence=outcome.sentence)
    return replace(record, state=State.finished)


def started(job_dir: Path, cfg: ConfigT, job: Callable[[ConfigT], object]) -> Outcome:
    """Run the job with a port, and among several GPUs a device, of its own."""
    launcher = HydraConfig.get().launcher._target_
    in_turn = launcher.endswith("BasicLauncher")
    output = None if in_turn else job_dir / "output.log"
    # Slurm gives each job its devices, and numbers them from 0 for each; a job of several processes
    # shares all of them out among those.
    several = isinstance(cfg, TrainConfig) and cfg.launcher.num_processes > 1
    shared = [] if several or launcher.endswith("SlurmLauncher") else gpus()
    with own_gpu(shared, job_dir.parent / ".gpus") as gpu:
        environment = {
            "WANDB_RUN_GROUP": job_dir.parent.name,
            **os.environ,
            "MASTER_PORT": str(free_port()),
        }
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        around = Surroundings(environment=environment, output=output)
        return isolated(job, cfg, around, several=in_turn)


def headline(record: JobRecord) -> float | None:
    """Return what a finished training is judged by."""
    if record.run is None or record.state is State.failed:
        return None
    return RunRecord(RunFolder(Path(record.run))).score


def verb() -> str:
    """Return the verb whose configuration Hydra composed."""
    return str(HydraConfig.get().job.config_name).removeprefix("verb/")

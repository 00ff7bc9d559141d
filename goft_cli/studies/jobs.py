"""Run the jobs of a sweep, and record each in the sweep's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from goft_cli.compose.refusals import sentence_and_code
from goft_cli.config import TrainConfig
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import is_reusable
from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import write_csv
from goft_cli.studies.runner import (
    ConfigT,
    Outcome,
    Surroundings,
    free_port,
    gpus,
    isolated,
    own_gpu,
)
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
    """Its own overrides, as a user would type them for this job alone."""
    state: State = State.running
    run: str | None = None
    """Its run folder, if it trains."""
    sentence: str = ""
    """Why it failed."""


def write_record(job_dir: Path, record: JobRecord) -> None:
    """Write the record of a job in place of an earlier one."""
    write_json(job_dir / RECORD, asdict(record))


def read_records(sweep_dir: Path) -> list[JobRecord]:
    """Return the records so far, by number."""
    found = [read_json(path) for path in sweep_dir.glob(f"*/{RECORD}")]
    records = [replace(JobRecord(**entry), state=State(entry["state"])) for entry in found]
    return sorted(records, key=lambda record: record.number)


def forget_records(sweep_dir: Path) -> None:
    """Delete what an earlier start of the sweep recorded; the runs themselves stay."""
    for path in sweep_dir.glob(f"*/{RECORD}"):
        path.unlink()


def finished_records(records: Iterable[JobRecord]) -> list[RunRecord]:
    """Return the finished runs of a sweep."""
    done = {State.finished, State.kept}
    runs = [record.run for record in records if record.state in done and record.run]
    return [RunRecord(RunFolder(Path(run))) for run in dict.fromkeys(runs)]


def swept(compose: Callable[[], ConfigT], job: Callable[[ConfigT], object]) -> float | None:
    """Run one job of a sweep and record how it went, its errors too.

    `compose` returns the configuration or raises its error. Return the headline's value
    of a finished training, for a sweeper that searches; else None.
    """
    settings = HydraConfig.get()
    job_dir = Path(settings.runtime.output_dir)
    record = JobRecord(settings.job.num, " ".join(settings.overrides.task))
    try:
        cfg = compose()
    except Exception as error:
        sentence, _ = sentence_and_code(error, [verb(), *settings.overrides.task])
        write_record(job_dir, replace(record, state=State.failed, sentence=sentence))
        return None
    record = replace(record, run=cfg.output_dir if isinstance(cfg, TrainConfig) else None)
    record = perform(record, job_dir, cfg, job)
    write_record(job_dir, record)
    write_csv(job_dir.parent / LEADERBOARD, finished_records(read_records(job_dir.parent)))
    if record.run is None or record.state is State.failed:
        return None
    return RunRecord(RunFolder(Path(record.run))).score


def perform(
    record: JobRecord, job_dir: Path, cfg: ConfigT, job: Callable[[ConfigT], object]
) -> JobRecord:
    """Keep a finished run, or else run the job; return the record of how it ended."""
    try:
        if isinstance(cfg, TrainConfig) and is_reusable(cfg):
            return replace(record, state=State.kept)
        write_record(job_dir, record)
        outcome = run_isolated(job_dir, cfg, job)
    except Exception as error:
        sentence, code = sentence_and_code(error, [verb()])
        outcome = Outcome(code, sentence)
    if outcome.code:
        return replace(record, state=State.failed, sentence=outcome.sentence)
    return replace(record, state=State.finished)


def run_isolated(job_dir: Path, cfg: ConfigT, job: Callable[[ConfigT], object]) -> Outcome:
    """Run the job with its own port and, if there are several GPUs, its own device."""
    launcher = HydraConfig.get().launcher._target_
    in_turn = launcher.endswith("BasicLauncher")
    output = None if in_turn else job_dir / "output.log"
    # Slurm gives each job its devices, numbered from 0; a job of several processes uses all
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


def verb() -> str:
    """Return the verb whose configuration Hydra composed."""
    return str(HydraConfig.get().job.config_name).removeprefix("verb/")

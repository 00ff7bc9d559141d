"""`goft train`: fine-tune, evaluate, save, merge, score again.

Each of several processes runs this module on the frozen configuration of the run. Imports are late,
so that a command that only composes (`--cfg job`) needs none of them.
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.config import TrainConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import (
    USAGE_ERROR,
    GoftError,
    OutOfMemoryError,
    RankError,
    Stopped,
    UnusableError,
    handling,
    stop_now,
)
from goft_cli.system.imports import importing

if TYPE_CHECKING:
    from goft_cli.run.record import RunRecord


def main() -> None:
    """Compose `configs/train.yaml` and run the pipeline on it."""
    run_composed("train", TrainConfig, train)


def train(cfg: TrainConfig) -> None:
    """Show a finished run, or run the pipeline here or in processes of its own.

    torch is imported by the pipeline alone.
    """
    from goft_cli.run.folder import RunFolder
    from goft_cli.run.preflight import check_inputs
    from goft_cli.run.provenance import missing_if_finished
    from goft_cli.training.launch_checks import check_launch, is_rank

    check_launch(cfg)
    # checked again in `run`; here changed data is refused or a finished run shown without imports
    gone = missing_if_finished(cfg)
    if gone is not None and not is_rank():
        from goft_cli.run.summary import show_finished

        show_finished(RunFolder(Path(cfg.output_dir)), [change.name for change in gone])
        return
    check_inputs(cfg)
    if cfg.launcher.num_processes == 1 or is_rank():
        run_here(cfg)
        return
    from goft_cli.run.folder import opened
    from goft_cli.run.launch import launch

    with opened(cfg) as folder:
        launch(cfg, folder.config, __name__)


def run_here(cfg: TrainConfig, *, held: bool = False) -> None:
    """Run the pipeline in this process; `held` as in `run`."""
    with importing(packed=cfg.model.quantization is not None):
        from goft_cli.run.pipeline import run

    try:
        run(cfg, held=held)
    except OutOfMemoryError as error:
        from goft_cli.verbs.plan.batches import advice

        raise advice(cfg, updating=error.updating) from error


def finish_run(cfg: TrainConfig, *, several: bool) -> RunRecord:
    """Train in a process with its own memory peak, unless the run is finished.

    `several`: the process may be forked from one with the imports of a run, which is faster, and
    whose memory peak has less of those imports than that of `goft train`. A failed run is a
    RankError or a GoftError, an UnusableError if its settings are to blame; a KeyboardInterrupt
    comes when the run has saved a checkpoint.
    """
    from goft_cli.run.launch import RankTracebackError
    from goft_cli.run.preflight import check_inputs
    from goft_cli.run.provenance import is_reusable
    from goft_cli.run.record import RunRecord
    from goft_cli.studies import runner

    if not is_reusable(cfg):
        check_inputs(cfg)  # here, before a process starts
        outcome = runner.isolated(train_quietly, cfg, runner.Surroundings(), several=several)
        cause = RankTracebackError(f"\n{outcome.traceback}")
        if outcome.code == USAGE_ERROR:
            kind = UnusableError if outcome.unusable else GoftError
            raise kind(outcome.sentence) from cause
        if outcome.code:
            raise RankError(outcome.sentence, outcome.code) from cause
    return RunRecord.of(cfg)


def train_quietly(cfg: TrainConfig) -> None:
    """Train without the run's own summary on the screen; progress and warnings go elsewhere."""
    from goft_cli.run.summary import screen

    screen.quiet = True
    train(cfg)


def work(config: Path) -> int:
    """Train as one of several processes; return the exit code, as `goft` does."""
    from goft_cli.compose.refusals import sentence_and_code
    from goft_cli.run.configuration import read_config
    from goft_cli.run.launch import end_with_parent, report_failure

    end_with_parent()
    try:
        with handling(stop_now):
            # the launcher has replaced an earlier run, and holds the lock
            run_here(replace(read_config(config), overwrite=False), held=True)
    except (Exception, Stopped) as error:  # the launcher prints it
        sentence, code = sentence_and_code(error, ("train",))
        report_failure(sentence, traceback.format_exc())
        return code
    return 0


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1])))

"""One run of several: in a process of its own, unless it is finished already."""

from __future__ import annotations

from goft_cli.commands.train import train
from goft_cli.config import TrainConfig
from goft_cli.errors import USAGE_ERROR, GoftError, RankError
from goft_cli.launching.launch import RankTracebackError
from goft_cli.preflight import check_inputs
from goft_cli.runs.provenance import is_reusable
from goft_cli.runs.record import RunRecord
from goft_cli.sweeps.isolation import Outcome, Surroundings, isolated


def finish_run(cfg: TrainConfig, *, several: bool) -> RunRecord:
    """Train in a process of its own, whose peak of memory is its own too, or find it done.

    Args:
        cfg: of the run.
        several: whether its process may be forked from one that has imported what runs need, which
            is faster, and counts less of those imports as the run's memory than `goft train` does.

    Raises:
        RankError: the run failed.
        KeyboardInterrupt: after the run, which was told to end too, has saved a checkpoint.
    """
    if not is_reusable(cfg):
        check_inputs(cfg)  # here, where an answer does not wait for a process
        outcome = isolated(train_quietly, cfg, Surroundings(), several=several)
        if outcome.code:
            raise as_error(outcome) from RankTracebackError(f"\n{outcome.traceback}")
    return RunRecord.of(cfg)


def train_quietly(cfg: TrainConfig) -> None:
    """Train without the run's own summary on the screen; progress and warnings go elsewhere."""
    from goft_cli.report import screen

    screen.quiet = True
    train(cfg)


def as_error(outcome: Outcome) -> GoftError | RankError:
    """Return the exception that a process ended with, as this process would have raised it."""
    if outcome.code == USAGE_ERROR:
        return GoftError(outcome.sentence)
    return RankError(outcome.sentence, outcome.code)

"""What one of several processes does for all: open the folder, keep the log, write the files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import PartialState

from goft_cli.config import TrainConfig
from goft_cli.config.trainer import processes
from goft_cli.runs.run_folder import RunFolder, open_run, opened
from goft_cli.training.launch_checks import sharding_engine


def join(cfg: TrainConfig) -> bool:
    """Meet the other processes, if there are any; tell whether this is the one that writes.

    Raises:
        RuntimeError: accelerate does not see them.
    """
    if processes() == 1:
        return True
    on_cpu = cfg.trainer.use_cpu or not torch.cuda.is_available()
    if on_cpu and sharding_engine() is None:  # with DeepSpeed it would mean DDP
        os.environ["ACCELERATE_USE_CPU"] = "true"  # which Trainer's own state reads
    state = PartialState(cpu=on_cpu)
    if state.num_processes != processes():  # else each would train alone and write as the first
        raise RuntimeError(f"{processes()} processes started, {state.num_processes} joined")
    return state.is_main_process


@contextmanager
def open_together(cfg: TrainConfig, *, speaks: bool, held: bool) -> Iterator[RunFolder]:
    """Open the run folder once for all processes, until the block ends.

    Args:
        cfg: the run.
        speaks: whether this process writes for all.
        held: whether the launcher of the processes keeps other starts out.
    """
    if not speaks:
        opening = nullcontext(RunFolder(Path(cfg.output_dir)))
    else:
        opening = nullcontext(open_run(cfg)) if held else opened(cfg)
    with opening as folder:
        wait()
        try:
            yield folder
        except Exception:
            folder.check_there()
            raise


def leave() -> None:
    """Let go of the other processes at the end, when all of them are there.

    What still holds the group is freed before: a gradient reducer that outlives it waits for ever
    in its own destructor.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        wait()
        torch.distributed.destroy_process_group()


def wait() -> None:
    """Wait until every process is here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()

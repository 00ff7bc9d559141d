"""Several processes for one run: started, joined, and ended with the error of the first to fail.

The command composes once and freezes the configuration into the run folder; accelerate's launcher
starts one worker per process on that file.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import patch_environment
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from goft_cli.config import TrainConfig
from goft_cli.config.trainer import processes
from goft_cli.run.folder import RunFolder, open_run, opened
from goft_cli.system.errors import (
    CRASH,
    ENDING,
    USAGE_ERROR,
    RankError,
    Stopped,
    handling,
    hangup_is_ignored,
    stop_now,
)
from goft_cli.training.launch_checks import device_of, sharding_backend

ORPHAN_CHECK_SECONDS = 0.5
SAVING_SECONDS = 600
"""How long the processes may take, after a signal, to finish an update and save."""


def launch(cfg: TrainConfig, config: Path, module: str) -> None:
    """Start processes that run `module` on the frozen configuration, and wait for them.

    Raises:
        Stopped: the processes ended in order, at a signal.
        RankError: one of them failed; the others have been ended.
    """
    count = cfg.launcher.num_processes
    words = ["--multi_gpu", "--num_machines=1", f"--num_processes={count}", "--mixed_precision=no"]
    words += ["--dynamo_backend=no", "--main_process_port=0", "--module", module, str(config)]
    arguments = launch_command_parser().parse_args(words)
    if hangup_is_ignored():  # else torchrun would end all processes at a hangup
        arguments.signals_to_handle = "SIGTERM,SIGINT,SIGQUIT"
    logging.disable(logging.ERROR)  # torchrun logs the same error in other words
    try:
        with handling(stop_now), patch_environment(**worker_environment(cfg)):
            launch_command(arguments)
    except SignalException as signalled:  # torchrun passed the signal on and waited
        raise Stopped(signalled.sigval) from None
    except ChildFailedError as error:
        rank, failure = root_cause(error.failures)
        where = failure.error_file_data.get("traceback", "no traceback")
        cause = RankTracebackError(f"\n{where}")
        raise as_error(failure, rank, count) from cause
    finally:
        logging.disable(logging.NOTSET)


def worker_environment(cfg: TrainConfig) -> dict[str, str]:
    """Return variables that let accelerate start CPU processes and torchrun wait for a save."""
    on_cpu = device_of(cfg.trainer) == "cpu"
    threads = max(1, torch.get_num_threads() // cfg.launcher.num_processes)
    return {
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING_SECONDS),
        # else each process warns of DDP's search for unused parameters, which Trainer switches on
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    } | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})


def root_cause(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Return the rank that failed first.

    A process killed from outside ranks first, although the others, which lost contact with it, have
    earlier times. One that torchrun ended ranks last, since its time is in whole seconds.
    """

    def order(item: tuple[int, ProcessFailure]) -> tuple[bool, bool, float]:
        failure = item[1]
        told_to_end = failure.exitcode == -signal.SIGTERM
        killed = failure.exitcode < 0 and not told_to_end
        return not killed, told_to_end, failure.error_file_data.get("time", failure.timestamp)

    return min(failures.items(), key=order)


def as_error(failure: ProcessFailure, rank: int, count: int) -> RankError | Stopped:
    """Return the exception for the failure that a process recorded."""
    who = f"process {rank} of {count}"
    if failure.exitcode < 0:
        return RankError(
            f"{who} was ended by {failure.signal_name()}; the same command resumes", CRASH
        )
    if "time" not in failure.error_file_data:
        return RankError(f"{who} ended with exit code {failure.exitcode} without an error", CRASH)
    for number in ENDING:
        if failure.exitcode == Stopped(number).code:
            return Stopped(number, failure.message)
    mistake = failure.exitcode == USAGE_ERROR  # the user's, and the same in every process
    said = failure.message if mistake else f"{who}: {failure.message}"
    return RankError(said, failure.exitcode)


class RankTracebackError(Exception):
    """Where a process failed, for `--debug`."""


def report_failure(sentence: str, traceback: str) -> None:
    """Write why this process fails into the file that torchrun provides for its launcher."""
    now = time.time()
    word = {"message": sentence, "timestamp": int(now), "time": now, "traceback": traceback}
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(word), encoding="utf-8")


def end_with_parent() -> None:
    """End this process when its launcher is gone; an orphan would disturb the next start."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def join_processes(cfg: TrainConfig) -> bool:
    """Join the other processes, if there are any; tell whether this is the one that writes."""
    if processes() == 1:
        return True
    on_cpu = device_of(cfg.trainer) == "cpu"
    if on_cpu and sharding_backend() is None:  # with DeepSpeed it would mean DDP
        os.environ["ACCELERATE_USE_CPU"] = "true"  # which Trainer's own state reads
    state = PartialState(cpu=on_cpu)
    if state.num_processes != processes():  # else each would train alone and write as the first
        raise RuntimeError(f"{processes()} processes started, {state.num_processes} joined")
    return state.is_main_process


@contextmanager
def open_together(cfg: TrainConfig, *, is_main: bool, held: bool) -> Iterator[RunFolder]:
    """Open the run folder in the process that writes for all (`is_main`), until the block ends.

    `held`: the launcher of the processes holds the lock.
    """
    if not is_main:
        opening = nullcontext(RunFolder(Path(cfg.output_dir)))
    else:
        opening = nullcontext(open_run(cfg)) if held else opened(cfg)
    with opening as folder:
        wait_for_all()
        try:
            yield folder
        except Exception:
            folder.check_there()
            raise


def leave_processes() -> None:
    """Leave the group of processes when all of them are ready to."""
    if torch.distributed.is_initialized():
        gc.collect()  # the destructor of a gradient reducer that outlives the group never returns
        wait_for_all()
        torch.distributed.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process has reached this call."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()

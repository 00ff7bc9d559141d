"""Several processes for one run: those we start ourselves, and those a launcher has started.

Hydra outside, launcher inside: the command composes once and freezes the configuration into the
run folder; accelerate's launcher starts one worker per process on that file. Under a launcher of
the user's, every process composes for itself, to the same result.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from goft_cli.batches import processes
from goft_cli.config import TrainConfig
from goft_cli.errors import USAGE_ERROR, GoftError, RankError
from goft_cli.signals import Stopped, handling

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

MULTIRUN_FLAGS = {"-m", "--multirun"}
LAUNCHERS = {"launch", "accelerate.commands.launch"}
"""The words after which accelerate's launcher takes its own."""
ORPHAN_CHECK_SECONDS = 0.5


def is_rank() -> bool:
    """Tell whether a launcher started this process, as one of one or more."""
    return "WORLD_SIZE" in os.environ


def check_nesting(words: Sequence[str]) -> None:
    """Refuse a sweep inside a launch.

    Raises:
        GoftError: every process would run the sweep by itself, waiting for the others' jobs.
    """
    if processes() > 1 and MULTIRUN_FLAGS & set(words):
        raise GoftError(
            f"-m inside a launch: each of the {processes()} processes would run a sweep of its own "
            "and wait for the others; start the sweep alone, and let it launch each job: "
            f"goft train -m ... launcher.num_processes={processes()}"
        )


def check_launch(cfg: TrainConfig) -> None:
    """Compare the processes that were asked for with those that there are, or can be.

    Raises:
        GoftError: a launcher started another number, or there are too few GPUs.
    """
    wanted = cfg.launcher.num_processes
    if is_rank():
        if wanted != processes():
            raise GoftError(
                f"launcher.num_processes={wanted}, but a launcher started {processes()}; leave "
                "launcher.num_processes out under accelerate launch and torchrun"
            )
        wanted = int(os.environ.get("LOCAL_WORLD_SIZE", wanted))
    elif "ACCELERATE_MIXED_PRECISION" in os.environ:
        check_asked(asked_of_accelerate())
    if wanted > 1 and not cfg.trainer.use_cpu:
        check_gpus(wanted)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        check_sharding()


def check_asked(asked: int) -> None:
    """Refuse a launch that started one process in place of several.

    Raises:
        GoftError: says how to start them on CPUs.
    """
    if asked > 1:
        raise GoftError(
            f"accelerate launch was asked for {asked} processes and started 1, as it does on CPUs; "
            f"use goft train launcher.num_processes={asked}, or torchrun --nproc_per_node {asked} "
            "-m goft_cli train"
        )


def asked_of_accelerate() -> int:
    """Return the number of processes that `accelerate launch`, our parent, was asked for."""
    import psutil
    from accelerate.commands.launch import (
        _validate_launch_command,  # the one place that reads words and configuration file together
        launch_command_parser,
    )

    words = psutil.Process(os.getppid()).cmdline()
    launcher = [at for at, word in enumerate(words) if word in LAUNCHERS]
    if not launcher:
        return 1
    arguments = launch_command_parser().parse_args(words[launcher[0] + 1 :])
    return _validate_launch_command(arguments)[0].num_processes


def check_gpus(wanted: int) -> None:
    """Refuse more processes than GPUs; a machine without any trains on its cores.

    Raises:
        GoftError: there are GPUs, but too few.
    """
    import torch

    found = torch.cuda.device_count()
    if 0 < found < wanted:
        raise GoftError(
            f"launcher.num_processes={wanted}, but this machine has {found} visible GPU"
            f"{'s' if found > 1 else ''}; pass launcher.num_processes={found}, or "
            "trainer.use_cpu=true"
        )


def check_sharding() -> None:
    """Refuse FSDP without GPUs, which accelerate would replace by DDP without a word.

    Raises:
        GoftError: there is no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise GoftError(
            "accelerate launch asks for FSDP, which needs GPUs, and there is none here; "
            "use goft train launcher.num_processes=N for DDP on CPUs"
        )


def launch(cfg: TrainConfig, config: Path) -> None:
    """Start the processes on the frozen configuration and wait for them.

    Raises:
        Stopped: the processes ended in order, at a signal.
        RankError: one of them failed; the others have been ended.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from accelerate.utils import patch_environment
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    count = cfg.launcher.num_processes
    words = ["--multi_gpu", "--num_machines=1", f"--num_processes={count}", "--mixed_precision=no"]
    words += ["--dynamo_backend=no", "--main_process_port=0", "--module", "goft_cli.worker"]
    arguments = launch_command_parser().parse_args([*words, str(config)])
    logging.disable(logging.ERROR)  # torchrun's, which tell of the same end in other words
    try:
        with handling(PassOn()), patch_environment(**worker_environment(cfg)):
            launch_command(arguments)
    except ChildFailedError as error:
        rank, failure = root_cause(error.failures)
        raise as_error(failure, rank, count) from RankTracebackError.of(failure)
    finally:
        logging.disable(logging.NOTSET)


def worker_environment(cfg: TrainConfig) -> dict[str, str]:
    """Return what makes accelerate start several processes without GPUs, and leave us signals."""
    import torch

    on_cpu = cfg.trainer.use_cpu or not torch.cuda.is_available()
    threads = max(1, torch.get_num_threads() // cfg.launcher.num_processes)
    return {
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGQUIT",
        # each process warns that DDP looks for parameters without gradient, as Trainer has it do
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    } | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})


class PassOn:
    """Passes the first signal on to the processes, which save and end; the second ends all."""

    def __init__(self) -> None:
        self.passed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal.

        Raises:
            Stopped: at the second one.
        """
        import psutil

        if self.passed:
            raise Stopped(number)
        self.passed = True
        for process in psutil.Process().children():
            process.send_signal(number)


def root_cause(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Return the rank that failed first.

    A process killed from outside leaves no word, and is found out after those that lost it.
    """

    def order(item: tuple[int, ProcessFailure]) -> tuple[bool, float]:
        failure = item[1]
        killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
        return not killed, failure.error_file_data.get("time", failure.timestamp)

    return min(failures.items(), key=order)


def as_error(failure: ProcessFailure, rank: int, count: int) -> RankError | Stopped:
    """Translate what a process left behind into the exception that it would have been here."""
    who = f"process {rank} of {count}"
    if failure.exitcode < 0:
        return RankError(f"{who} was ended by {failure.signal_name()}; the same command resumes", 1)
    if "time" not in failure.error_file_data:
        return RankError(f"{who} ended with exit code {failure.exitcode} and without a word", 1)
    for number in (signal.SIGINT, signal.SIGTERM):
        if failure.exitcode == Stopped(number).code:
            return Stopped(number, failure.message)
    mistake = failure.exitcode == USAGE_ERROR  # the user's, and the same in every process
    said = failure.message if mistake else f"{who}: {failure.message}"
    return RankError(said, failure.exitcode)


class RankTracebackError(Exception):
    """Where a process failed, for `--debug`."""

    @classmethod
    def of(cls, failure: ProcessFailure) -> RankTracebackError:
        """Return what the process wrote down."""
        return cls("\n" + failure.error_file_data.get("traceback", "no traceback"))


def leave_word(sentence: str, traceback: str) -> None:
    """Tell the launcher why this process fails, in the file that torchrun provides for it."""
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

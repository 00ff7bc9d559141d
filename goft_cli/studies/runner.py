"""One job in its own process and, if there are several GPUs, on its own GPU."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import (
    get_all_start_methods,
    get_context,
    get_start_method,
    parent_process,
    set_start_method,
)
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import TypeVar

from goft_cli.compose.refusals import sentence_and_code
from goft_cli.system.errors import (
    CRASH,
    Stopped,
    UnusableError,
    handling,
    panics_as_errors,
    stop_now,
)
from goft_cli.system.secrets import redact

POLL_SECONDS = 1.0
PRELOADED = [__name__, "goft_cli.run.pipeline"]
"""Slow imports of every job: a fork server imports them once."""
ConfigT = TypeVar("ConfigT")

# as in `cli`: every new process runs this line before it imports PEFT
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def gpus() -> list[str]:
    """Name the GPUs that this process may use, without the driver, so that it can still fork."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    found = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(found, key=int)


@contextmanager
def own_gpu(names: list[str], locks: Path) -> Iterator[str | None]:
    """Wait for a free one of several GPUs and hold it; yield the value of CUDA_VISIBLE_DEVICES.

    With a single GPU or none, yield None. The folder `locks` has one file per GPU, whose lock ends
    with its holder.
    """
    if len(names) < 2:
        yield None
        return
    locks.mkdir(parents=True, exist_ok=True)
    while True:
        for name in names:
            with (locks / name.replace("/", "_")).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield name
                return
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Surroundings:
    """Surroundings of a job; a fork server would pass on those of its own start."""

    folder: str = field(default_factory=lambda: str(Path.cwd()))
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    output: Path | None = None
    """The file for the job's output instead of the screen."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    code: int = 0
    sentence: str = ""
    traceback: str = ""
    unusable: bool = False
    """Whether the training left no usable adapter, as with too high a learning rate."""


def process_context(*, several: bool) -> ForkServerContext | SpawnContext:
    """Choose between a fork server, which imports once for several jobs, and a new interpreter."""
    # a GPU's driver, once an import has called it, does not survive the server's fork
    return get_context("forkserver") if several and not gpus() else get_context("spawn")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def isolated(
    job: Callable[[ConfigT], object], cfg: ConfigT, surroundings: Surroundings, *, several: bool
) -> Outcome:
    """Run `job(cfg)`, both pickled, in a new process, and wait for it.

    `several`: more jobs will come from this process. A KeyboardInterrupt goes to the job first,
    which may save a checkpoint.
    """
    context = process_context(several=several)
    if get_start_method(allow_none=True) not in {None, *get_all_start_methods()}:
        # a start method of joblib's would stop a new interpreter
        set_start_method(context.get_start_method(), force=True)
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(sender, job, cfg, surroundings))
    process.start()
    sender.close()
    outcome: Outcome | None = None
    try:
        with suppress(EOFError):  # the job died before it sent any
            outcome = receiver.recv()
        process.join()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGINT)
        process.join()
        raise
    return outcome or _outcome_without_message(process.exitcode)


def _outcome_without_message(exit_code: int | None) -> Outcome:
    """Describe a process that ended without sending an outcome."""
    code = exit_code or 0
    if code >= 0:
        return Outcome(code or CRASH, f"its process exited with code {code} and no message")
    name = signal.Signals(-code).name
    hint = "; the system does this when memory runs out" if name == "SIGKILL" else ""
    return Outcome(CRASH, f"its process was ended by {name}{hint}")


def _enter(
    sender: Connection, job: Callable[[ConfigT], object], cfg: ConfigT, surroundings: Surroundings
) -> None:
    """Set up the surroundings, run the job, and send its outcome."""
    os.setsid()  # the starter passes Ctrl-C on, once, to the job and all that it started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(surroundings.folder)
    os.environ.clear()
    os.environ.update(surroundings.environment)
    if surroundings.output is not None:
        with surroundings.output.open("ab") as file:  # for all that the job starts, too
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    try:
        with handling(stop_now), panics_as_errors():
            job(cfg)
        outcome = Outcome()
    except (Exception, Stopped) as error:
        sentence, code = sentence_and_code(error, ["train"])
        told, unusable = redact(traceback.format_exc()), isinstance(error, UnusableError)
        outcome = Outcome(code, sentence, told, unusable)
        if surroundings.output is not None:
            print(outcome.traceback, flush=True)
    sender.send(outcome)


def _end_with_parent() -> None:
    """End when the starter ends; else its next start would share the run folder with this job."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(os.getpgrp(), signal.SIGTERM)

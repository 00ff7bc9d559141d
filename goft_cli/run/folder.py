"""A run's folder: its files by name, and a lock that lets one start of the run in at a time."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from goft_cli.config import TrainConfig
from goft_cli.run.configuration import (
    SECTIONS,
    WRITER,
    differing,
    is_written,
    read_config,
    write_config,
)
from goft_cli.system.errors import GoftError
from goft_cli.system.files import (
    RECORD,
    REPLACED,
    begin_record,
    clear,
    put_aside,
    put_back,
    read_yaml,
    remove,
)

logger = logging.getLogger(__name__)

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}
"""Error numbers of a file system without locks, such as Lustre or NFS mounted without them."""
MAX_DIFFERENCES = 6
FORECAST = "forecast"
"""The key of `goft plan`'s numbers, in its own file and in `metrics.json`."""
Stamp = tuple[int, int, int]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file until the block or the process ends; the file itself stays.

    A disk without locks gets none: a file that is itself the lock would outlive a killed process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise GoftError(
            f"{path.parent}: another process is running this run ({read_holder(path)})",
            "wait until it ends, or stop it",
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: the disk has no locks, so start this run only once", path.parent)
    try:
        write_holder(path)
        yield
    finally:
        lock.release()


def write_holder(path: Path) -> None:
    """Write who holds the lock into its file."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    signature = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    path.write_text(json.dumps(signature) + "\n", encoding="utf-8")  # in place: it is locked


def read_holder(path: Path) -> str:
    """Return who holds the lock, as a phrase."""
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        return "process {pid} on {host}, since {since}".format(**signed)
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not written its id yet"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path
    lock_seen: Stamp | None = field(default=None, compare=False)
    """Identity of the lock file when the run was opened, to recognize the folder later."""

    @property
    def config(self) -> Path:
        """The resolved configuration, written first."""
        return self.path / "config.yaml"

    @property
    def adapter(self) -> Path:
        """The trained adapter in PEFT's format, with the tokenizer beside it."""
        return self.path / "adapter"

    @property
    def template(self) -> Path:
        """The chat template that the run was trained with, where its tokenizer has one."""
        return self.adapter / "chat_template.jinja"

    @property
    def checkpoints(self) -> Path:
        """What training needs to resume."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The scores, written last: its presence means the run is finished."""
        return self.path / "metrics.json"

    @property
    def history(self) -> Path:
        """What training logged, update by update."""
        return self.path / "history.json"

    @property
    def classes(self) -> Path:
        """A classifier's scores and confusions by class, on the headline's split."""
        return self.path / "classes.json"

    @property
    def rewound(self) -> Path:
        """What `goft rewind` found, where it wrote into the run folder."""
        return self.path / "rewind.json"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, data and model that made the numbers."""
        return self.path / "manifest.json"

    @property
    def log(self) -> Path:
        """The log of the run, with times."""
        return self.path / "run.log"

    @property
    def plan(self) -> Path:
        """The forecast of `goft plan`, beside the folder, since only the run creates the folder."""
        return self.path.with_name(f"{self.path.name}.plan.json")

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.path / ".lock"

    @property
    def record(self) -> Path:
        """Names of the other files that the run wrote."""
        return self.path / RECORD

    @property
    def is_run(self) -> bool:
        """Whether goft made the folder; other programs write a `config.yaml` too."""
        traces = (self.record, self.log, self.manifest, self.metrics)
        if not (self.config.is_file() and any(path.is_file() for path in traces)):
            return False
        try:
            plain = read_yaml(self.config)
        except GoftError:
            return False
        return WRITER in plain or plain.keys() >= set(SECTIONS)

    @property
    def began(self) -> bool:
        """Whether data and model were loaded, and training came next."""
        return self.manifest.is_file() or self.has_results

    @property
    def has_results(self) -> bool:
        """Whether training wrote a checkpoint, an adapter or metrics."""
        return self.finished or self.adapter.exists() or any(self.checkpoints.glob("checkpoint-*"))

    @property
    def finished(self) -> bool:
        """Whether the run reached its end."""
        return self.metrics.is_file()

    def settle(self) -> None:
        """Remove the run that this one replaced; put it back if this one has not begun."""
        if self.began and self.config.is_file():
            remove(self.path / REPLACED)
        put_back(self.path)

    def check_there(self) -> None:
        """Refuse to go on in a folder that is not the one that was opened."""
        if self.lock_seen is not None and stamp(self.lock) != self.lock_seen:
            raise GoftError(
                f"{self.path}: the run folder was deleted or moved during the run",
                "start the command again",
            )


def stamp(path: Path) -> Stamp | None:
    """Return what distinguishes a file from a later one of its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


@contextmanager
def opened(cfg: TrainConfig) -> Iterator[RunFolder]:
    """Open the run folder and lock it until the block ends.

    A start that fails before its training leaves no folder, or the run that it was to replace.
    A finished run may lie on a read-only disk.
    """
    folder = RunFolder(Path(cfg.output_dir))
    if is_finished(cfg):
        yield folder
        return
    if not (folder.path / REPLACED).is_dir():  # else `settle` restores the run first
        refuse_other(cfg)
    made = not folder.path.exists()
    with locked(folder.lock):
        folder.settle()
        try:
            folder = open_run(cfg)
            yield folder
        except BaseException:
            if not folder.began and stamp(folder.lock) == folder.lock_seen:
                withdraw(folder, made=made)
            raise


def open_run(cfg: TrainConfig) -> RunFolder:
    """Create the run folder, or find the same run in it; the caller holds the lock."""
    refuse_other(cfg)
    folder = RunFolder(Path(cfg.output_dir))
    folder = replace(folder, lock_seen=stamp(folder.lock))
    there = stored_config(folder)
    if folder.is_run and (cfg.overwrite or there is None or any(differing(there, cfg))):
        (put_aside if folder.has_results else clear)(folder.path)
    if not folder.finished:
        begin_record(folder.path)
        if there != cfg:
            write_config(folder.config, cfg)
    return folder


def is_finished(cfg: TrainConfig) -> bool:
    """Tell whether exactly this run has reached its end, and is not to be replaced."""
    folder = RunFolder(Path(cfg.output_dir))
    if cfg.overwrite or not (folder.finished and folder.config.is_file()):
        return False
    return is_written(folder.config, cfg) or not any(differing(read_config(folder.config), cfg))


def stored_config(folder: RunFolder) -> TrainConfig | None:
    """Return the configuration of the run in a folder; None if none can be read."""
    try:
        return read_config(folder.config) if folder.is_run else None
    except GoftError:
        return None


def refuse_other(cfg: TrainConfig) -> None:
    """Refuse a folder that this run may not use, before anything is written."""
    folder = RunFolder(Path(cfg.output_dir))
    if not folder.is_run:
        own = {folder.lock, folder.record}  # the only files if a start was killed at once
        if folder.path.is_dir() and set(folder.path.iterdir()) - own:
            raise GoftError(
                f"output_dir={folder.path}: the folder is not empty and holds no run of goft",
                "choose another output_dir",
            )
    elif folder.has_results and not cfg.overwrite:
        differences = list(differing(read_config(folder.config), cfg))
        more = len(differences) - MAX_DIFFERENCES
        shown = [*differences[:MAX_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])]
        if differences:
            raise GoftError(
                f"{folder.path} holds a run of another configuration ({'; '.join(shown)})",
                "pass run_name=NAME or overwrite=true; in a sweep, give each YAML its own name",
            )


def withdraw(folder: RunFolder, *, made: bool) -> None:
    """Undo what a start did before training; remove the folder if the start made it."""
    clear(folder.path)
    for path in (folder.config, folder.record, folder.lock):
        path.unlink(missing_ok=True)
    put_back(folder.path)
    if made:
        with suppress(OSError):  # somebody else's file is in it
            folder.path.rmdir()

"""One start of a run at a time: a lock that its holder's death releases, however it comes."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from goft_cli.system.errors import GoftError

logger = logging.getLogger(__name__)

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}
"""What a file system without locks answers, such as Lustre or NFS mounted without them."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file until the block ends; the file stays behind and locks nothing then.

    A disk without locks gets none: a file that merely lies there would outlive its holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise GoftError(
            f"{path.parent}: another start of this run is at work ({holder(path)})",
            "wait for its end, or stop it",
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: the disk has no locks, so start this run only once", path.parent)
    try:
        sign(path)
        yield
    finally:
        lock.release()


def sign(path: Path) -> None:
    """Write down who holds the lock; in place, for the lock is on the file that is there."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    signature = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    path.write_text(json.dumps(signature) + "\n", encoding="utf-8")


def holder(path: Path) -> str:
    """Return who holds the lock, in words."""
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        return "process {pid} on {host}, since {since}".format(**signed)
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not said which yet"

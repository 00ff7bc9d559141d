"""Encoded rows that later runs read again, in files of limited size in the user's cache folder.

A file's name has the digest of all its sources and the SHA-256 of its content, which is compared
at each reading. A process locks the files that it reads until it ends, so that no other process
removes them: a worker may open a memory-mapped file again.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from goft_cli.system.digests import DIGITS, file_sha256
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import own_cache

LIMIT = "GOFT_TOKENS_GB"
"""Environment variable: the largest size of the folder, in gigabytes."""
DEFAULT_GB = 5.0
PATIENCE = 600.0
"""Seconds to wait for another process that makes the same file."""
ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished file is assumed to be of a killed process."""
_held: dict[Path, int] = {}


def folder() -> Path:
    """Return where encoded rows are kept; it need not exist."""
    return own_cache("tokens")


def limit() -> int:
    """Return the largest size of the folder in bytes; 0 to keep nothing."""
    given = os.environ.get(LIMIT, "").strip() or str(DEFAULT_GB)
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found < math.inf:
        raise GoftError(
            f"{LIMIT}={given}: expected a number of gigabytes, or 0 to keep no tokens",
            f"unset {LIMIT}, or set {LIMIT}={DEFAULT_GB:g}",
        )
    return round(found * 2**30)


def find(key: str) -> Path | None:
    """Return the file of this key, locked until the process ends; a damaged one is removed.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in folder().glob(f"{key}.*.arrow"):
        if not _hold(path):
            continue
        if path.suffixes[0] == f".{file_sha256(path)[:DIGITS]}":
            with suppress(OSError):  # another user's file, or a read-only disk
                os.utime(path)  # the last use
            return path
        _let_go(path)
        path.unlink(missing_ok=True)
    return None


@contextmanager
def making(key: str) -> Iterator[Path]:
    """Yield an empty folder in which one process at a time makes the file of this key.

    Raises:
        OSError: nothing can be written or locked there, or the wait took too long.
    """
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = folder() / f"{key}.lock"
    with (
        FileLock(lock, timeout=PATIENCE, fallback_to_soft=False),
        tempfile.TemporaryDirectory(dir=folder()) as aside,
    ):
        try:
            yield Path(aside)
        finally:
            lock.unlink(missing_ok=True)  # a waiting process looks for the file first


def keep(key: str, made: Path) -> Path | None:
    """Move a file into the folder, and remove the least recently used files.

    Return None and leave the file where it is if the file alone exceeds the limit.
    """
    if made.stat().st_size > limit():
        return None
    target = folder() / f"{key}.{file_sha256(made)[:DIGITS]}.arrow"
    made.replace(target)
    if not _hold(target):
        raise FileNotFoundError(f"{target} was removed")
    _remove_oldest(limit())
    return target


def census() -> tuple[int, int]:
    """Return the number of files in the folder, and their bytes."""
    sizes = [status.st_size for _, status in _kept()]
    return len(sizes), sum(sizes)


def clear() -> None:
    """Remove every file that no process reads."""
    _remove_oldest(-1)


def _kept() -> list[tuple[Path, os.stat_result]]:
    """Return the kept files, the least recently used first."""
    found = []
    for path in folder().glob("*.arrow"):
        with suppress(FileNotFoundError):  # another process was faster
            found.append((path, path.stat()))
    return sorted(found, key=lambda one: one[1].st_mtime_ns)


def _remove_oldest(most: int) -> None:
    """Remove files until they have at most `most` bytes, and leftovers of killed processes."""
    kept = _kept()
    total = sum(status.st_size for _, status in kept)
    for path, status in kept:
        if total > most and _remove(path):
            total -= status.st_size
    for rest in folder().glob("*"):
        with suppress(OSError):
            if rest.suffix != ".arrow" and time.time() - rest.stat().st_mtime > ABANDONED:
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def _remove(path: Path) -> bool:
    """Remove a file unless a process reads it."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


def _hold(path: Path) -> bool:
    """Lock a file against removal until the process ends; False if it is being removed."""
    if path in _held and path.exists():
        return True
    _let_go(path)
    with suppress(FileNotFoundError, BlockingIOError):
        number = os.open(path, os.O_RDONLY)
        _held[path] = number
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(number).st_nlink:
            return True
    _let_go(path)
    return False


def _let_go(path: Path) -> None:
    if path in _held:
        os.close(_held.pop(path))

"""What lies at a path, told without opening it: a pipe blocks its reader, a device never ends."""

from __future__ import annotations

import stat
from pathlib import Path

from goft_cli.errors import GoftError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(path: Path) -> str | None:
    """Name what a path leads to; None for a file and where there is nothing."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def refuse_no_file(path: Path) -> None:
    """Refuse what is there and is no file; what is missing is left to whoever opens it."""
    if kind := kind_of(path):
        raise GoftError(f"{path} is {kind}", "expected a file, so put a regular file there")


def refuse_specials(folder: Path) -> None:
    """Refuse a folder that holds anything but files and folders."""
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            refuse_no_file(entry)

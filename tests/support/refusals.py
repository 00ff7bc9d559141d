"""Check that a mistake is refused with one sentence and exit code 2, and changes no file."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from goft_cli.compose.refusals import sentence_and_code
from goft_cli.system.errors import USAGE_ERROR

Change = Callable[[Path], object]
"""A change that damages a folder."""

NOISE = ("Traceback", "HYDRA_FULL_ERROR", "object at 0x")


def snapshot(root: Path) -> Mapping[str, str]:
    """Return each entry below a folder, by path: a link's target, a file's digest or "folder"."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            content = f"-> {path.readlink()}"
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[path.relative_to(root).as_posix()] = content
    return found


def refusal(job: Callable[[], object], root: Path) -> str:
    """Return the sentence that the command line would print for what `job` raises.

    Checks the exit code, that it is one sentence, and that nothing below `root` has changed.
    """
    before = snapshot(root)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - `described` is stricter than a match
        job()
    sentence = described(caught.value)
    assert snapshot(root) == before
    return sentence


def described(error: Exception) -> str:
    """Return the sentence for an error that users can correct."""
    sentence, code = sentence_and_code(error, ["train"])
    assert code == USAGE_ERROR, sentence
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 5000
    assert not any(noise in sentence for noise in NOISE), sentence
    return sentence


def write(name: str, content: str | bytes) -> Change:
    """Write a file in place of the existing one."""
    data = content.encode() if isinstance(content, str) else content

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data)

    return change


def remove(name: str) -> Change:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def cut(name: str, count: int = 64) -> Change:
    """Cut off the last bytes of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-count])


def dangle(name: str) -> Change:
    """Replace a file by a dangling link."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "nowhere")

    return change


def at(name: str, make: Callable[[Path], object]) -> Change:
    """Call `make` with the path of that name."""
    return lambda folder: make(folder / name)


def link(name: str, target: str) -> Change:
    """Make a link."""
    return lambda folder: (folder / name).symlink_to(target)


def listen(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def both(*changes: Change) -> Change:
    """Make several changes."""
    return lambda folder: [change(folder) for change in changes]


def substitute(name: str, pattern: str, replacement: str) -> Change:
    """Replace what a pattern matches in a text file."""

    def change(folder: Path) -> None:
        path = folder / name
        text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
        assert count, f"{name} has no {pattern}"
        path.write_text(text, encoding="utf-8")

    return change


def absent(folder: Path) -> None:
    """Remove a folder."""
    shutil.rmtree(folder)


def a_file(folder: Path) -> None:
    """Replace a folder by a file."""
    absent(folder)
    folder.write_text("x")


def emptied(folder: Path) -> None:
    """Empty a folder."""
    absent(folder)
    folder.mkdir()

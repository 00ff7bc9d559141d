"""Have `loops.c` compiled by the C compiler of the system, once for each kind of processor."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

SOURCE = Path(__file__).with_name("loops.c")

# Of all that fast mathematics stands for, what a sum over lanes needs: that its terms may be added
# in another order, which is the same in each call. -ffast-math itself would also change how the
# whole process rounds, where GCC links it.
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-fPIC", "-shared"),
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)


def available() -> bool:
    """Whether there is a C compiler: the command in CC, or else cc."""
    return shutil.which(command()[0]) is not None


def command() -> list[str]:
    """What starts the C compiler, and its own words behind it."""
    return os.environ.get("CC", "").split() or ["cc"]


def load() -> ctypes.CDLL:
    """The compiled loops, from the user's cache folder if they are there.

    Raises:
        RuntimeError: the compiler fails; says how.
        OSError: the compiler cannot be started, or the system refuses what it wrote.
    """
    cache = _cache()
    target = cache / f"loops-{_key()}.so"
    with suppress(OSError):  # not there, or of another system that shares the folder
        return ctypes.CDLL(str(target))
    with _folder_in(cache) as folder:
        made = Path(folder) / target.name
        _compile(made)
        library = ctypes.CDLL(str(made))
        with suppress(OSError):  # what is loaded stays so, wherever the file goes
            made.replace(target)  # at once, for other processes may look for it
    return library


def _key() -> str:
    """Of the source, and of what the compiler understands by the flags on this processor.

    A cache folder may be shared by machines of several kinds.
    """
    asked = [*command(), *FLAGS, "-###", "-E", "-x", "c", os.devnull]
    said = subprocess.run(asked, capture_output=True, check=False).stderr
    return hashlib.sha256(SOURCE.read_bytes() + said).hexdigest()[:16]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home) / "goft-cli"


def _folder_in(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """A new folder beside the file that is to be, or elsewhere if nothing can be written there."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache)
    except OSError:
        return tempfile.TemporaryDirectory()


def _compile(target: Path) -> None:
    compiler, *words = command()
    words += [*FLAGS, str(SOURCE), "-o", str(target), "-lm"]
    done = subprocess.run([compiler, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if "error" in line]
        reason = reasons[0] if reasons else f"exit code {done.returncode}"
        raise RuntimeError(f"{compiler} cannot compile {SOURCE.name}, {reason}")

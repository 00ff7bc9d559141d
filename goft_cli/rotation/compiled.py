"""The engine of loops in C, `loops.c`, on the threads of the OpenMP that PyTorch is linked to.

The C compiler of the system compiles them at first use, once for each kind of processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from goft_cli.rotation.self_check import passes

SOURCE = Path(__file__).with_name("loops.c")

# Of all that fast mathematics stands for, what a sum over lanes needs: that its terms may be added
# in another order, which is the same in each call. -ffast-math itself would also change how the
# whole process rounds, where GCC links it.
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-fPIC", "-shared"),
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)

NARROW = torch.float32, torch.bfloat16, torch.float16
"""What float32 holds exactly."""

GRAIN = 2**15
"""Numbers for which another thread is worth waking, as for PyTorch's own operations."""

_LIBRARY = ctypes.CDLL(torch._C.__file__)  # and with it all that it was linked to
_healthy: list[bool] = []


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the loops take such vectors and can be used here.

    Not where operations are recorded instead of run, for these loops cannot be.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    return device.type == "cpu" and dtype in NARROW and dim >= 2 and available()


def available() -> bool:
    """Whether there are a C compiler and a team of threads, and the loops agree with `staged`.

    Found out at the first call. Without a compiler they are not expected to; if something else is
    in the way, a warning says what.
    """
    if not _healthy:
        _healthy.append(can_build() and has_team() and _checked())
    return _healthy[0]


def _checked() -> bool:
    shape = 35, 50  # a tile that is not full, columns that make no full square
    engine, cpu = sys.modules[__name__], torch.device("cpu")
    remedy = "let CC name a C compiler that works, or set GOFT_ENGINE=blocked"
    return passes(engine, "compiled rotation loops", shape, torch.float32, cpu, remedy)


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The rotation in float32, for every dtype of x; its cosines and sines are taken each time."""
    return (_plain(rotation),)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (n, d), in x.dtype."""
    return _turned(x, prepared[0], transposed=True)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (n, d), in x.dtype."""
    return _turned(x, prepared[0], transposed=False)


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`."""
    (flat,) = prepared
    if not len(x):
        return (torch.empty_like(x) if needs_x else None), torch.zeros_like(flat)
    wide, reached = _plain(x), _plain(grad)
    grad_x = torch.empty_like(wide) if needs_x else None
    grad_rotation = torch.empty_like(flat)
    work = Work(wide, flat, grad_x, needs_x)
    work.grad, work.grad_rotation = reached.data_ptr(), grad_rotation.data_ptr()
    work.run("pullback")
    return None if grad_x is None else grad_x.to(x.dtype), grad_rotation


def _turned(x: Tensor, rotation: Tensor, transposed: bool) -> Tensor:
    wide = _plain(x)
    out = torch.empty_like(wide)
    if len(x):
        Work(wide, rotation, out, transposed).run("turn")
    return out.to(x.dtype)


def _plain(x: Tensor) -> Tensor:
    """As float32, row by row; x itself if it is that."""
    return x.float().contiguous()


class Work(ctypes.Structure):
    """What a team of threads is given: struct work of `loops.c`, which says what is what."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "dim", "numbers", "threads", "flag")),
        *((name, ctypes.c_void_p) for name in ("rotation", "x", "out", "grad", "grad_rotation")),
        ("scratch", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("share", "shares")),
    )

    def __init__(self, x: Tensor, rotation: Tensor, out: Tensor | None, flag: bool) -> None:
        threads = min(torch.get_num_threads(), max(1, x.numel() // GRAIN))
        super().__init__(*x.shape, rotation.numel() // len(rotation), threads, flag)
        self.rotation, self.x = rotation.data_ptr(), x.data_ptr()
        self.out = None if out is None else out.data_ptr()

    def run(self, loop: str) -> None:
        """Call a loop of `loops.c` on each thread of a team, and wait, without Python's lock."""
        loops, at = _loops(), ctypes.byref(self)
        scratch = _memory.at_least(loops.plan(at))
        self.scratch = scratch.data_ptr()
        _LIBRARY.GOMP_parallel(getattr(loops, loop), at, self.threads, 0)


class _Memory(threading.local):
    """Scratch memory of each thread that asks for turns.

    It is kept, about 400 d bytes for each thread of its team: new memory the system would have to
    clear at each call.
    """

    def __init__(self) -> None:
        self.bytes = _bytes(0)

    def at_least(self, count: int) -> Tensor:
        """So many bytes, or more."""
        if len(self.bytes) < count:
            self.bytes = _bytes(count)
        return self.bytes


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8, device="cpu")  # whatever the default device is


_memory = _Memory()


@cache
def _loops() -> ctypes.CDLL:
    """The compiled loops, which know OpenMP's functions, as Python knows how to start a team."""
    library = load()
    functions = "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"
    library.plan.restype = ctypes.c_int64
    library.join(*(ctypes.cast(getattr(_LIBRARY, name), ctypes.c_void_p) for name in functions))
    address, number = ctypes.c_void_p, ctypes.c_uint
    _LIBRARY.GOMP_parallel.argtypes = [address, address, number, number]
    _LIBRARY.GOMP_parallel.restype = None
    return library


def has_team() -> bool:
    """Whether PyTorch was linked to GNU's OpenMP, as on Linux."""
    return hasattr(_LIBRARY, "GOMP_parallel")


def can_build() -> bool:
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
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    kept = Path(home) / "goft-cli"
    target = kept / f"loops-{_key()}.so"
    with suppress(OSError):  # not there, or of another system that shares the folder
        return ctypes.CDLL(str(target))
    with _folder_in(kept) as folder:
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


def _folder_in(kept: Path) -> tempfile.TemporaryDirectory[str]:
    """A new folder beside the file that is to be, or elsewhere if nothing can be written there."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=kept)
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

"""The engine of loops in C (`loops.c`), on the threads of the OpenMP that PyTorch is linked to.

The system's C compiler compiles them at first use, once for each type of processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from goft_cli.rotation.self_check import passes

SOURCE = Path(__file__).with_name("loops.c")
HEADERS = tuple(SOURCE.with_name(name) for name in ("registers.h", "tree.h", "work.h"))

# No -ffast-math: linked by GCC, it would change the rounding of the whole process.
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fPIC", "-shared")

NARROW = torch.float32, torch.bfloat16, torch.float16
"""Types whose values float32 represents exactly."""

GRAIN = 2**15
"""Numbers per thread that make another thread worthwhile, as in PyTorch's own operations."""

MOST_SHARES, LEAST_SHARE = 32, 32
"""Most shares that the vectors are divided into, and fewest vectors of a share."""

WORK = struct.Struct("15q")
"""Arguments of a call: struct work of `work.h`, which documents them."""

_LIBRARY = ctypes.CDLL(torch._C.__file__)  # and all libraries that it is linked to
_healthy: list[bool] = []


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the loops support such vectors and work here.

    False while operations are traced or compiled: the loops cannot be recorded.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or _is_recorded():  # pyright: ignore[reportPrivateImportUsage]
        return False
    return device.type == "cpu" and dtype in NARROW and dim >= 2 and available()


def _is_recorded() -> bool:
    """Whether `make_fx` records operations on real tensors."""
    proxy = torch._C._TorchDispatchModeKey.PROXY
    return bool(torch._C._len_torch_dispatch_stack() and torch._C._get_dispatch_mode(proxy))


def available() -> bool:
    """Whether there are a C compiler and a team of threads, and the loops agree with `staged`.

    Checked at the first call. A warning says why they do not work, unless there is no compiler.
    """
    if not _healthy:
        _healthy.append(can_build() and has_team() and _checked())
    return _healthy[0]


def _checked() -> bool:
    shape = 35, 50  # a multiple of neither the shares nor the registers
    engine, cpu = sys.modules[__name__], torch.device("cpu")
    remedy = "let CC name a C compiler that works, or set GOFT_ENGINE=blocked"
    return passes(engine, "compiled rotation loops", shape, torch.float32, cpu, remedy)


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Cosines and sines, or the entries of blocks, in the layout of `pack` in `loops.c`."""
    given = rotation.float().contiguous()
    quasi, dim = rotation.dim() == 3, len(rotation) + 1
    cosines, sines = (given, given) if quasi else (given.cos(), given.sin())
    packed = given.new_empty(4 if quasi else 2, padded_size(dim))
    _loops().pack(dim, 4 if quasi else 1, cosines.data_ptr(), sines.data_ptr(), packed.data_ptr())
    return (packed,)


def synthesis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R^T x of vectors x (..., d), in x.dtype."""
    return _turned(x, prepared[0], transposed=True)


def analysis(x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
    """R x of vectors x (..., d), in x.dtype."""
    return _turned(x, prepared[0], transposed=False)


def pullback(
    x: Tensor, grad: Tensor, rotation: Tensor, prepared: Sequence[Tensor], needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """See `engines.Engine.pullback`."""
    source, reached = _readable(x), _readable(grad)
    out = torch.empty_like(source) if needs_x else None
    grad_rotation = torch.empty_like(
        rotation, dtype=torch.float32, memory_format=torch.contiguous_format
    )
    _run("pullback", needs_x, source, out, prepared[0], reached, grad_rotation)
    return out if out is None or out.dtype == x.dtype else out.to(x.dtype), grad_rotation


def _turned(x: Tensor, packed: Tensor, transposed: bool) -> Tensor:
    source = _readable(x)
    out = torch.empty_like(source)
    _run("turn", transposed, source, out, packed)
    return out if out.dtype == x.dtype else out.to(x.dtype)


def _readable(x: Tensor) -> Tensor:
    """x, contiguous and in a dtype that the loops read; x itself if it is so already."""
    return (x.float() if x.dtype == torch.float16 else x).contiguous()


def _run(
    loop: str,
    flag: bool,
    x: Tensor,
    out: Tensor | None,
    packed: Tensor,
    grad: Tensor | None = None,
    grad_rotation: Tensor | None = None,
) -> None:
    """Call a loop of `loops.c` on each thread of a team, and wait without holding the GIL."""
    *plan, size = _plan(x.numel(), x.shape[-1], *packed.shape, torch.get_num_threads())
    getattr(_loops(), loop)(
        WORK.pack(
            *plan,
            x.dtype is torch.bfloat16,
            flag,
            x.data_ptr(),
            0 if grad is None else grad.data_ptr(),
            0 if out is None else out.data_ptr(),
            packed.data_ptr(),
            0 if grad_rotation is None else grad_rotation.data_ptr(),
            _memory.at_least(size).data_ptr(),
        )
    )


@lru_cache(maxsize=1024)
def _plan(size: int, dim: int, entries: int, padded: int, threads: int) -> tuple[int, ...]:
    """The first fields of struct work, and the bytes of scratch memory that they need."""
    count, numbers = size // dim, 1 if entries == 2 else entries
    share = max(LEAST_SHARE, -(-count // MOST_SHARES))
    shares = -(-count // share)
    threads = max(1, min(threads, size // GRAIN, shares))
    scratch = 4 * padded * (4 * threads + numbers * shares)
    return count, dim, numbers, threads, share, shares, padded, scratch


@cache
def padded_size(dim: int) -> int:
    """Numbers that the loops store for the d - 1 entries of one kind, padding included."""
    return _loops().padded_size(dim)


class _Memory(threading.local):
    """Scratch memory of each calling thread.

    It is kept between calls, because the system would have to clear new memory at each call. It has
    at most about 16 d bytes for each thread of the team and 512 d for the shares.
    """

    def __init__(self) -> None:
        self.bytes = _bytes(0)

    def at_least(self, count: int) -> Tensor:
        """Return memory of at least this many bytes."""
        if len(self.bytes) < count:
            self.bytes = _bytes(count)
        return self.bytes


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8, device="cpu")  # whatever the default device is


_memory = _Memory()


@cache
def _loops() -> ctypes.CDLL:
    """The compiled loops, with the types of their arguments."""
    library = load()
    functions = "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier", "GOMP_parallel"
    library.join(*(ctypes.cast(getattr(_LIBRARY, name), ctypes.c_void_p) for name in functions))
    number, address = ctypes.c_int64, ctypes.c_void_p
    library.padded_size.restype = number
    library.padded_size.argtypes = [number]
    library.pack.argtypes = [number, number, address, address, address]
    library.turn.argtypes = library.pullback.argtypes = [ctypes.c_char_p]
    return library


def has_team() -> bool:
    """Whether PyTorch was linked to GNU's OpenMP, as on Linux."""
    return hasattr(_LIBRARY, "GOMP_parallel")


def can_build() -> bool:
    """Whether there is a C compiler: the command in CC, or else cc."""
    return shutil.which(command()[0]) is not None


def command() -> list[str]:
    """The command that starts the C compiler, with its arguments."""
    return os.environ.get("CC", "").split() or ["cc"]


def load() -> ctypes.CDLL:
    """The compiled loops, from the user's cache folder if they are there.

    Raises:
        RuntimeError: the compiler fails; says how.
        OSError: the compiler cannot be started, or the system refuses what it wrote.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    # A user without a home, as in a container, has no cache folder, and nothing lies below a file.
    kept = Path(os.devnull if home.startswith("~") else home, "goft-cli")
    target = kept / f"loops-{_key()}.so"
    with suppress(OSError):  # missing, or built on another system that shares the folder
        return ctypes.CDLL(str(target))
    with _folder_in(kept) as folder:
        made = Path(folder) / target.name
        _compile(made)
        library = ctypes.CDLL(str(made))
        with suppress(OSError):  # the loaded library works even if the file cannot be moved
            made.replace(target)  # atomically, because other processes may look for it
    return library


def _key() -> str:
    """Digest of the source and of the compiler's options on this processor.

    Machines with different processors may share a cache folder.
    """
    asked = [*command(), *FLAGS, "-###", "-E", "-x", "c", os.devnull]
    said = subprocess.run(asked, capture_output=True, check=False).stderr
    sources = b"".join(path.read_bytes() for path in (SOURCE, *HEADERS))
    return hashlib.sha256(sources + said).hexdigest()[:16]


def _folder_in(kept: Path) -> tempfile.TemporaryDirectory[str]:
    """A new folder next to the future file, or elsewhere if that place is not writable."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=kept)
    except OSError:
        return tempfile.TemporaryDirectory()


def _compile(target: Path) -> None:
    compiler, *words = command()
    words += [*FLAGS, f"-I{HEADERS[0].parent}", str(SOURCE), "-o", str(target)]
    done = subprocess.run([compiler, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if "error" in line]
        reason = reasons[0] if reasons else f"exit code {done.returncode}"
        raise RuntimeError(f"{compiler} cannot compile {SOURCE.name}, {reason}")

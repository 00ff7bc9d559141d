"""R^T x, R x and their gradients on a CPU, by loops in C.

The tree as it is defined, pair by pair, 6 d operations per vector; each pair turns 32 vectors at
once with vector instructions. `loops.c` has the loops, `build` has them compiled for the processor
at hand, and PyTorch's own threads run them (`team`). Arithmetic is in float32, to which narrower
vectors are cast.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from goft_cli.rotation import build, team
from goft_cli.rotation.self_check import passes

NARROW = torch.float32, torch.bfloat16, torch.float16
"""What float32 holds exactly."""

GRAIN = 2**15
"""Numbers for which another thread is worth waking, as for PyTorch's own operations."""

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
        _healthy.append(build.available() and team.available() and _checked())
    return _healthy[0]


def _checked() -> bool:
    shape = 35, 50  # a tile that is not full, columns that make no full square
    engine, cpu = sys.modules[__name__], torch.device("cpu")
    remedy = "let CC name a C compiler that works, or set GOFT_ENGINE=blocked"
    return passes(engine, "compiled rotation loops", shape, torch.float32, cpu, remedy)


def prepare(rotation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The rotation in float32; its cosines and sines are taken again each time.

    Args:
        rotation: angles (d-1,) in radians, or blocks (d-1, 2, 2).
        dtype: of x; float32 is computed in all the same.
    """
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
    return None if grad_x is None else _as(grad_x, x.dtype), grad_rotation


def _turned(x: Tensor, rotation: Tensor, transposed: bool) -> Tensor:
    wide = _plain(x)
    out = torch.empty_like(wide)
    if len(x):
        Work(wide, rotation, out, transposed).run("turn")
    return _as(out, x.dtype)


def _plain(x: Tensor) -> Tensor:
    """As float32, row by row; x itself if it is that."""
    return x if x.dtype == torch.float32 and x.is_contiguous() else x.float().contiguous()


def _as(result: Tensor, dtype: torch.dtype) -> Tensor:
    return result if result.dtype == dtype else result.to(dtype)


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
        """Have a loop of `loops.c` run by a team, and wait."""
        loops = _loops()
        scratch = _memory.at_least(loops.plan(ctypes.byref(self)))
        self.scratch = scratch.data_ptr()
        team.run(getattr(loops, loop), self, self.threads)


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
    library = build.load()
    functions = "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"
    library.plan.restype = ctypes.c_int64
    library.join(*(ctypes.c_void_p(team.address(name)) for name in functions))
    return library

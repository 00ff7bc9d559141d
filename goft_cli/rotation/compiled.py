"""R^T x, R x and their gradients on a CPU, by loops that Numba compiles.

The tree as it is defined, pair by pair, 6 d operations per vector; each pair turns 32 vectors at
once with vector instructions. `goft_cli.rotation.loops` has the loops, which PyTorch's own threads
run (`goft_cli.rotation.team`). Arithmetic is in float32, to which narrower vectors are cast.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from goft_cli.rotation import team
from goft_cli.rotation.schedule import schedule
from goft_cli.rotation.self_check import passes

LANES = 32
"""Vectors turned at once. Loops over 16 the compiler unrolls, and finds nothing to vectorise."""

NARROW = torch.float32, torch.bfloat16, torch.float16
"""What float32 holds exactly."""

SHARES = 32
"""Parts that the vectors are cut into, at most. Each is summed by one thread, and the sums in
order, so that a gradient does not depend on the number of threads."""

GRAIN = 2**15
"""Numbers for which another thread is worth waking, as for PyTorch's own operations."""

_healthy: list[bool] = []
_pairs: dict[int, Tensor] = {}
_addresses: dict[str, int] = {}


def supports(dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the loops take such vectors and can be used here.

    Not where operations are recorded instead of run, for these loops cannot be.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    return device.type == "cpu" and dtype in NARROW and dim >= 2 and available()


def available() -> bool:
    """Whether there are Numba and a team of threads, and the loops agree with the staged engine.

    Found out at the first call. Without Numba they are not expected to; if something else is in the
    way, a warning says what.
    """
    if not _healthy:
        possible = find_spec("numba") is not None and team.available()
        _healthy.append(possible and _checked())
    return _healthy[0]


def _checked() -> bool:
    shape = LANES + 3, 50  # a tile that is not full, columns that make no full line
    engine, cpu = sys.modules[__name__], torch.device("cpu")
    remedy = "update Numba, pip install -U 'goft-cli[cpu]'"
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
    table = _memory.table(wide, flat)
    table.run("pullback", needs_x, flat, wide, grad_x, reached, grad_rotation)
    return None if grad_x is None else _as(grad_x, x.dtype), grad_rotation


def _turned(x: Tensor, rotation: Tensor, transposed: bool) -> Tensor:
    wide = _plain(x)
    out = torch.empty_like(wide)
    if len(x):
        _memory.table(wide, rotation).run("turn", transposed, rotation, wide, out)
    return _as(out, x.dtype)


def _plain(x: Tensor) -> Tensor:
    """As float32, row by row; x itself if it is that."""
    return x if x.dtype == torch.float32 and x.is_contiguous() else x.float().contiguous()


def _as(result: Tensor, dtype: torch.dtype) -> Tensor:
    return result if result.dtype == dtype else result.to(dtype)


class Table:
    """What a team of threads is given: the addresses of sizes, of tensors and of scratch memory.

    The order is that in which `loops` reads them:

        0 sizes: vectors n, d, numbers per pair, vectors per share, shares, threads, flag
        1 rotation (d-1, numbers per pair)     5 blocks (threads, d-1, 4), scratch
        2 pairs (d-1, 2)                       6 tiles (threads, 3, d, LANES), scratch
        3 x (n, d)                             7 gradient of what was returned (n, d)
        4 out (n, d)                           8 sums (shares, d-1, 4), scratch
                                               9 gradient of the rotation, as 1
    """

    def __init__(self, count: int, dim: int, numbers: int, threads: int) -> None:
        size = math.ceil(count / (SHARES * LANES)) * LANES
        shares = math.ceil(count / size)
        self.threads = min(threads, shares, max(1, count * dim // GRAIN))
        self.tiles = 4 * self.threads * (dim - 1)
        self.sums = self.tiles + 3 * self.threads * dim * LANES
        self.needs = self.sums + 4 * shares * (dim - 1)
        self.sizes = (ctypes.c_int64 * 7)(count, dim, numbers, size, shares, self.threads)
        self.addresses = (ctypes.c_void_p * 10)(ctypes.addressof(self.sizes))
        self.addresses[2] = _pairs_of(dim).data_ptr()

    def place(self, scratch: Tensor) -> None:
        """Use these `needs` numbers of float32 for what the loops write down on the way."""
        self.scratch = scratch  # keeps it alive
        start, number = scratch.data_ptr(), scratch.itemsize
        self.addresses[5] = start
        self.addresses[6] = start + number * self.tiles
        self.addresses[8] = start + number * self.sums

    def run(
        self,
        loop: str,
        flag: bool,
        rotation: Tensor,
        x: Tensor,
        out: Tensor | None,
        grad: Tensor | None = None,
        grad_rotation: Tensor | None = None,
    ) -> None:
        """Have a loop of `loops` run by a team, and wait."""
        addresses = self.addresses
        self.sizes[6] = flag
        addresses[1], addresses[3] = rotation.data_ptr(), x.data_ptr()
        addresses[4] = None if out is None else out.data_ptr()
        if grad is not None and grad_rotation is not None:
            addresses[7], addresses[9] = grad.data_ptr(), grad_rotation.data_ptr()
        team.run(_addresses.get(loop) or _compiled(loop), addresses, self.threads)


class _Memory(threading.local):
    """Tables by shape, and the scratch memory they share; of each thread that asks for turns.

    The memory is kept, about 400 d bytes for each thread of the team: new memory the system would
    have to clear at each call.
    """

    def __init__(self) -> None:
        self.tables: dict[tuple[int, ...], Table] = {}
        self.scratch = torch.empty(0)

    def table(self, x: Tensor, rotation: Tensor) -> Table:
        key = *x.shape, 1 if rotation.dim() == 1 else 4, torch.get_num_threads()
        found = self.tables.get(key)
        return self._new(key) if found is None else found

    def _new(self, key: tuple[int, ...]) -> Table:
        table = Table(*key)
        if len(self.scratch) < table.needs or len(self.tables) > 1000:
            self.scratch = torch.empty(max(table.needs, len(self.scratch)))
            self.tables.clear()
        table.place(self.scratch)
        self.tables[key] = table
        return table


_memory = _Memory()


def _compiled(loop: str) -> int:
    """Compile a loop, or read what was compiled before."""
    from goft_cli.rotation import loops

    _addresses[loop] = getattr(loops, loop).address
    return _addresses[loop]


def _pairs_of(dim: int) -> Tensor:
    """(d-1, 2), the coordinates of each pair, in the order of the parameters."""
    if dim not in _pairs:
        coordinates = [
            (stage.stride * 2 * k, stage.stride * (2 * k + 1))
            for stage in schedule(dim)
            for k in range(stage.pairs)
        ]
        _pairs[dim] = torch.tensor(coordinates)
    return _pairs[dim]

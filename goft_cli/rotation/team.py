"""The threads that PyTorch computes with, for loops that are not PyTorch's.

They wait for their next work by spinning, so that threads of any other pool would have to share the
processors with them. They are reached by what compilers translate `#pragma omp parallel` to: GNU's
OpenMP has it, LLVM's and Intel's offer it as well, and whichever PyTorch was linked to is asked.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

_LIBRARY = ctypes.CDLL(torch._C.__file__)  # and with it all that it was linked to


def available() -> bool:
    """Whether PyTorch was linked to such a library, as on Linux."""
    return hasattr(_LIBRARY, "GOMP_parallel")


def address(name: str) -> int:
    """Where a function of the library is.

    Raises:
        AttributeError: there is none of that name.
    """
    return ctypes.cast(getattr(_LIBRARY, name), ctypes.c_void_p).value or 0


def run(function: Any, work: ctypes.Structure, threads: int) -> None:  # noqa: ANN401 - a function of C
    """Call a function of C on each thread of a team, and wait, without the interpreter's lock.

    Args:
        function: it is given the address of the work.
        work: lives until all are done.
        threads: at most so many; the calling one is number 0 of them.
    """
    _parallel(function, ctypes.byref(work), threads, 0)


if available():
    _parallel = _LIBRARY.GOMP_parallel
    _parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    _parallel.restype = None

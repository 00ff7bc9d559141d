"""A machine or a GPU without enough memory: how an error tells, and what to lower."""

from __future__ import annotations

import errno
from dataclasses import fields

from goft_cli.errors import GoftError

SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""CUDA and MPS say the first, PyTorch's allocators for CPUs one of the next two."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out; imports no torch."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    said = str(error)
    return named or (isinstance(error, RuntimeError) and any(sign in said for sign in SIGNS))


def what_to_lower(verb: str) -> GoftError:
    """Return the refusal for a verb that ran out of memory outside a training."""
    from goft_cli.config import SCHEMAS

    sized = verb in SCHEMAS and "batch_size" in {entry.name for entry in fields(SCHEMAS[verb])}
    smaller = "pass a smaller batch_size" if sized else "choose a smaller model"
    return GoftError(
        f"goft {verb} ran out of memory",
        f"end other programs that hold memory, or {smaller}",
    )

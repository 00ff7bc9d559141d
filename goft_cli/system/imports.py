"""Imports of large libraries, without work that a command does not need."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any


@contextmanager
def importing(*, packed: bool = False) -> Iterator[None]:
    """Import libraries in a block, and exclude their objects from garbage collection.

    torch, transformers and PEFT create two million objects that live until the program ends. The
    collector would spend a second on them during the import, and another at the end.

    `packed`: the weights are quantized by bitsandbytes. PEFT imports bitsandbytes if it is
    installed, and that calls `torch.compile`, which imports a compiler; without `packed`
    `torch.compile` does nothing in the block.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        with without_compiler() if not packed else nullcontext():
            yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


@contextmanager
def without_compiler() -> Iterator[None]:
    """Make `torch.compile` return functions unchanged within a block."""
    import torch

    compiled = torch.compile
    torch.compile = uncompiled  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.compile = compiled


def uncompiled(function: Callable[..., Any] | None = None, **_: object) -> Any:  # noqa: ANN401
    """Replace `torch.compile`: return the function unchanged, or a decorator that does so."""
    return uncompiled if function is None else function

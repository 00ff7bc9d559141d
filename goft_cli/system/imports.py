"""Large libraries imported without the work that a command has no use for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any


@contextmanager
def importing(*, packed: bool = False) -> Iterator[None]:
    """Import libraries in a block, and have the collector pass over what they made from then on.

    Two million objects of torch, transformers and PEFT stay to the end of the program. Looking
    through them for garbage takes a second while they are imported, and another at the end.

    `packed`: the weights are of bitsandbytes. PEFT imports it wherever it is installed, and it
    gives functions to `torch.compile`, which imports a compiler for them: they stay as they are.
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
    """Leave functions as they are in a block that has `torch.compile` compile them."""
    import torch

    compiled = torch.compile
    torch.compile = uncompiled  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.compile = compiled


def uncompiled(function: Callable[..., Any] | None = None, **_: object) -> Any:  # noqa: ANN401
    """Return a function as it is, or what returns one as it is: a stand-in for `torch.compile`."""
    return uncompiled if function is None else function

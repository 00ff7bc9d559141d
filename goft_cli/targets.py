"""Which layers an adapter was told to adapt, and whether the model has all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from goft_cli.config import LayerAdapterConfig
from goft_cli.errors import GoftError

BLOCK = re.compile(r".*?\.[^.]*\.(\d+)\.")
"""The number of a block in a module's name, where PEFT looks for it."""
SHOWN = 20
"""Names in a refusal."""


def linear_layers(model: nn.Module) -> list[str]:
    """Return the names of the linear layers, packed ones too."""
    modules = model.named_modules()
    return [name for name, module in modules if name and isinstance(module, nn.Linear | Conv1D)]


def check_targets(cfg: LayerAdapterConfig, adapted: Sequence[str], linear: Sequence[str]) -> None:
    """Refuse a name, or the number of a block, that selects no layer.

    Args:
        cfg: names the layers.
        adapted: the layers that got an adapter.
        linear: all linear layers of the model.

    Raises:
        GoftError: names what selects nothing, and what the model has.
    """
    blocks = cfg.layers_to_transform or []
    known = numbers(linear)
    if strange := sorted({*blocks} - known):
        raise GoftError(
            f"adapter.layers_to_transform={blocks}: the model has no block "
            f"{', '.join(map(str, strange))}; its blocks are {', '.join(map(str, sorted(known)))}"
        )
    wanted = cfg.target_modules
    words = wanted if isinstance(wanted, list) else []
    idle = [str(word) for word in words if not selects(word, adapted)]
    if idle or not adapted:
        raise GoftError(
            f"adapter.target_modules={wanted}: no layer to adapt is called "
            f"{', '.join(idle) or wanted}; the model's linear layers are "
            f"{', '.join(endings(linear)[:SHOWN])}"
        )


def selects(word: object, names: Iterable[str]) -> bool:
    """Tell whether a name, or the ending of a name, is that of one of the modules."""
    return any(f".{name}".endswith(f".{word}") for name in names)


def numbers(names: Iterable[str]) -> set[int]:
    """Return the numbers of the blocks that the modules are in."""
    return {int(found[1]) for name in names if (found := BLOCK.match(name))}


def endings(names: Iterable[str]) -> list[str]:
    """Return what the modules are called inside their block, or in the model outside of blocks."""
    return sorted({BLOCK.sub("", name) for name in names})

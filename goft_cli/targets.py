"""Which layers an adapter was told to adapt, and whether the model has all of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from goft_cli.config import LayerAdapterConfig
from goft_cli.system.errors import GoftError

BLOCK = re.compile(r".*?\.[^.]*\.(\d+)\.")
"""The number of a block in a module's name, where PEFT looks for it."""
SHOWN = 20
"""Names in a refusal."""
SHOWN_LETTERS = 200
"""Of a pattern in a refusal."""
PATIENCE = 5
"""Seconds for a pattern and all names; milliseconds do, unless it goes back and forth for ever."""
MATCHING = (
    "import json, re, sys; p, names = json.load(sys.stdin); [re.fullmatch(p, n) for n in names]"
)


def linear_layers(model: nn.Module) -> list[str]:
    """Return the names of the linear layers, packed ones too."""
    modules = model.named_modules()
    return [name for name, module in modules if name and isinstance(module, nn.Linear | Conv1D)]


def check_pattern(wanted: object, names: Sequence[str]) -> None:
    """Refuse a regular expression that is none, or whose search for a match has no end.

    Another process tries it, because that one can be ended.

    Args:
        wanted: `target_modules`; a list of names is no pattern.
        names: of the modules that PEFT will match with it.
    """
    if not isinstance(wanted, str):
        return
    subject = f"adapter.target_modules={wanted[:SHOWN_LETTERS]}"
    remedy = "pass the modules' names, such as adapter.target_modules=[query,value]"
    try:
        re.compile(wanted)
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", MATCHING],
            input=json.dumps([wanted, names]).encode(),
            timeout=PATIENCE,
            check=True,
        )
    except (re.error, RecursionError, OverflowError) as error:
        raise GoftError(f"{subject} is no regular expression ({error})", remedy) from None
    except subprocess.TimeoutExpired:
        raise GoftError(
            f"{subject}: found no end of matching it after {PATIENCE} seconds",
            remedy,
        ) from None


def check_targets(cfg: LayerAdapterConfig, adapted: Sequence[str], linear: Sequence[str]) -> None:
    """Refuse a name, or the number of a block, that selects no layer.

    Args:
        cfg: names the layers.
        adapted: the layers that got an adapter.
        linear: all linear layers of the model.
    """
    blocks = cfg.layers_to_transform or []
    known = numbers(linear)
    if strange := sorted({*blocks} - known):
        raise GoftError(
            f"adapter.layers_to_transform=[{listed(blocks)}]: the model has no block "
            f"{listed(strange)}",
            f"its blocks are {listed(sorted(known))}",
        )
    wanted = cfg.target_modules
    words = wanted if isinstance(wanted, list) else []
    idle = [str(word) for word in words if not selects(word, adapted)]
    if idle or not adapted:
        raise GoftError(
            f"adapter.target_modules={wanted}: no layer to adapt is called "
            f"{', '.join(idle) or wanted}",
            f"the model's linear layers are {listed(endings(linear))}",
        )


def listed(items: Sequence[object]) -> str:
    """Return the first of a list in words."""
    return ", ".join([*map(str, items[:SHOWN]), *(["..."] if len(items) > SHOWN else [])])


def selects(word: object, names: Iterable[str]) -> bool:
    """Tell whether a name, or the ending of a name, is that of one of the modules."""
    return any(f".{name}".endswith(f".{word}") for name in names)


def numbers(names: Iterable[str]) -> set[int]:
    """Return the numbers of the blocks that the modules are in."""
    return {int(found[1]) for name in names if (found := BLOCK.match(name))}


def endings(names: Iterable[str]) -> list[str]:
    """Return what the modules are called inside their block, or in the model outside of blocks."""
    return sorted({BLOCK.sub("", name) for name in names})

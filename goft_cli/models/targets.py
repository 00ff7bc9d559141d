"""The layers to adapt: the candidates of a model, and checks of `target_modules`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from goft_cli.config import LayerAdapterConfig
from goft_cli.models.backbone import selects
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError

BLOCK = re.compile(r".*?\.[^.]*\.(\d+)\.")
"""The number of a block in a module's name, as PEFT finds it."""
TEXT_INPUT = "input_ids"
"""The main input of a text model."""
OTHER_INPUTS = {"pixel_values", "pixel_values_videos", "input_features", "input_values"}
"""The main inputs of image and audio encoders."""
SHOWN = 20
"""Most names in an error message."""
SHOWN_LETTERS = 200
"""Most characters of a pattern in an error message."""
PATIENCE = 5
"""Seconds for matching a pattern with all names: without endless backtracking it takes less."""
MATCHING = (
    "import json, re, sys; p, names = json.load(sys.stdin); [re.fullmatch(p, n) for n in names]"
)


def all_linear(model: nn.Module, whole: list[str]) -> list[str]:
    """Name the layers of PEFT's `all-linear`, except those for which an adapter has no effect.

    These are the head's layers, those whose weight `nn.MultiheadAttention` uses without calling
    them, and in a text model those of its image or audio encoder.
    """
    output = getattr(model, "get_output_embeddings", lambda: None)()
    other = [
        name
        for name, part in model.named_modules()
        if isinstance(part, PreTrainedModel) and part.main_input_name in OTHER_INPUTS
    ]
    if getattr(model, "main_input_name", None) != TEXT_INPUT:
        other = []  # the parts of an image model may state other names than the whole
    layers = {name: model.get_submodule(name) for name in linear_layers(model, whole)}
    return [
        name
        for name, layer in layers.items()
        if layer is not output
        and not isinstance(layer, NonDynamicallyQuantizableLinear)
        and not any(name.startswith(f"{part}.") for part in other)
    ]


def linear_layers(model: nn.Module, whole: list[str]) -> list[str]:
    """Name the linear layers outside the modules that train whole."""
    return [
        name
        for name, module in model.named_modules()
        if name and isinstance(module, nn.Linear | Conv1D) and not in_modules(name, whole)
    ]


def check_pattern(wanted: object, names: Sequence[str]) -> None:
    """Refuse a `target_modules` that is not a regular expression, or whose matching never ends.

    A second process tests it, because that one can be stopped. A list of names is not tested.
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
        raise GoftError(f"{subject} is not a regular expression ({error})", remedy) from None
    except subprocess.TimeoutExpired:
        raise GoftError(
            f"{subject}: matching it took more than {PATIENCE} seconds", remedy
        ) from None


def check_targets(cfg: LayerAdapterConfig, adapted: Sequence[str], linear: Sequence[str]) -> None:
    """Refuse a name, or the number of a block, that selects none of the adapted layers."""
    blocks = cfg.layers_to_transform or []
    known = {int(found[1]) for name in linear if (found := BLOCK.match(name))}
    if strange := sorted({*blocks} - known):
        raise GoftError(
            f"adapter.layers_to_transform=[{listed(blocks)}]: the model has no block "
            f"{listed(strange)}",
            f"its blocks are {listed(sorted(known))}",
        )
    wanted = cfg.target_modules
    words = wanted if isinstance(wanted, list) else []
    idle = [str(word) for word in words if not selects(word, adapted)]
    if not adapted and selects(wanted, linear):
        raise GoftError(
            f"adapter.target_modules={wanted}: a word without brackets is a regular expression for "
            "a module's whole name, and none is called so",
            f"pass adapter.target_modules=[{wanted}]",
        )
    if idle or not adapted:
        in_blocks = sorted({BLOCK.sub("", name) for name in linear})
        raise GoftError(
            f"adapter.target_modules={wanted}: no layer to adapt is called "
            f"{', '.join(idle) or wanted}",
            f"the model's linear layers are {listed(in_blocks)}",
        )


def listed(items: Sequence[object]) -> str:
    """Return the first items of a list as text."""
    return ", ".join([*map(str, items[:SHOWN]), *(["..."] if len(items) > SHOWN else [])])

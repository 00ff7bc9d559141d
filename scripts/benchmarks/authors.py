"""The authors' own layer, from a local checkout of github.com/ArthurLeoM/peft-givens.

Its history holds two versions of `tuners/givens/layer.py`: the first multiplies sparse stage
matrices; the second combines neighbouring coordinates element by element, which is fast but not a
rotation. One folder with a checkout of each gives both rows:

    git clone https://github.com/ArthurLeoM/peft-givens authors/v2
    git -C authors/v2 worktree add ../v1 4dd5a2e1

Only that file is loaded, under a name of its own: the installed peft stays what it is.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from benchmarks.methods import Attach
from goft_cli.errors import GoftError

LAYER = "givens/layer.py"
WORDS_SHOWN = 120

MakeLayer = Callable[[nn.Linear], nn.Module]


def find(folder: Path) -> dict[str, Attach]:
    """Return a method for each version below `folder`.

    Raises:
        GoftError: there is none, one does not load with the installed versions, or one cannot
            carry out a forward pass with them.
    """
    files = sorted(folder.rglob(LAYER))
    if not files:
        raise GoftError(
            f"--authors {folder}: found no {LAYER} below it, expected a checkout of peft-givens"
        )
    found: dict[str, Attach] = {}
    for index, file in enumerate(files):
        name, make = _make_layer(file, index)
        found[name] = _attach(make)
    return dict(sorted(found.items()))


def _make_layer(file: Path, index: int) -> tuple[str, MakeLayer]:
    try:
        module = _load(file, f"_authors_givens_{index}")
        wraps = "base_layer" in inspect.signature(module.Linear).parameters
        name, make = ("authors-v2", _second) if wraps else ("authors-v1", _first)

        def make_layer(linear: nn.Linear) -> nn.Module:
            return make(module, linear)

        make_layer(nn.Linear(4, 2))(torch.zeros(1, 4))
    except Exception as error:
        said = " ".join(str(error).split())[:WORDS_SHOWN]
        raise GoftError(
            f"--authors: {file} does not work with the installed torch and peft "
            f"({type(error).__name__}: {said}); leave --authors out"
        ) from error
    return name, make_layer


def _load(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first(module: ModuleType, linear: nn.Linear) -> nn.Module:
    """The first version is itself a linear layer, and is handed the frozen weight afterwards."""
    # Today's peft gives tuner layers a weight and a bias that look for a wrapped layer.
    own = {name: property(partial(_parameter, name)) for name in ("weight", "bias")}
    layer = type("Linear", (module.Linear,), own)(
        "default", linear.in_features, linear.out_features, strict_oft=True, no_scaling=True
    )
    layer.to(linear.weight.device)
    layer._parameters.update(weight=linear.weight, bias=linear.bias)
    return layer


def _parameter(name: str, layer: nn.Module) -> nn.Parameter | None:
    return layer._parameters.get(name)


def _second(module: ModuleType, linear: nn.Linear) -> nn.Module:
    """The second version wraps the layer."""
    return module.Linear(linear, "default", strict_oft=True, no_scaling=True)


def _attach(make_layer: MakeLayer) -> Attach:
    def attach(model: nn.Module, targets: str) -> nn.Module:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and re.fullmatch(targets, name):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, make_layer(module))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("givens_" in name)
        return model

    return attach

"""Load the paper authors' implementation from a checkout of ArthurLeoM/peft-givens."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

LAYER = Path("tuners") / "givens" / "layer.py"
METHODS = {"authors' goft": True, "authors' qgoft": False}
"""Whether the rotations are strict, by name of the method."""


def load_authors(directory: Path) -> ModuleType:
    """Import the authors' layer, which needs only an installed peft.

    Raises:
        FileNotFoundError: the folder is not such a checkout.
    """
    path = directory / LAYER
    if not path.is_file():
        raise FileNotFoundError(f"--authors {directory}: has no {LAYER}; pass a checkout")
    spec = importlib.util.spec_from_file_location("authors_givens_layer", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"--authors {directory}: {LAYER} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attach_authors(model: nn.Module, targets: list[str], module: Any, strict: bool) -> nn.Module:  # noqa: ANN401 - their untyped code
    """Wrap targeted linears of a frozen model in the authors' layer, without norm adjustment."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and any(name.endswith(f".{t}") for t in targets):
            parent = model.get_submodule(name.rpartition(".")[0])
            wrapped = module.Linear(layer, "default", strict_oft=strict, no_scaling=True)
            setattr(parent, name.rpartition(".")[2], wrapped)
    return model

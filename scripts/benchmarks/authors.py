"""The paper's own implementation, from a checkout of ArthurLeoM/peft-givens that the user has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

LAYER = Path("tuners") / "givens" / "layer.py"
METHODS = {"authors' goft": True, "authors' qgoft": False}
"""Whether the rotations are strict, by the name in the tables."""


def load_authors(directory: Path) -> ModuleType:
    """Import their layer, which needs no more than an installed peft.

    Raises:
        FileNotFoundError: the folder is no such checkout.
    """
    path = directory / LAYER
    if not path.is_file():
        raise FileNotFoundError(f"--authors {directory}: no {LAYER} there; pass a checkout")
    spec = importlib.util.spec_from_file_location("authors_givens_layer", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"--authors {directory}: {LAYER} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attach_authors(model: nn.Module, targets: list[str], module: Any, strict: bool) -> nn.Module:  # noqa: ANN401 - their untyped code
    """Wrap every targeted linear of a frozen model in their layer, without norm adjustment."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and any(name.endswith(f".{t}") for t in targets):
            parent = model.get_submodule(name.rpartition(".")[0])
            wrapped = module.Linear(layer, "default", strict_oft=strict, no_scaling=True)
            setattr(parent, name.rpartition(".")[2], wrapped)
    return model

"""Know a model again by its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SAMPLED_PER_TENSOR = 256


def in_modules(name: str, modules: Sequence[str]) -> bool:
    """Tell whether a parameter lies in one of the modules, by their last name."""
    return any(part in modules for part in name.split("."))


def fingerprint(model: nn.Module, head_modules: Sequence[str] = ()) -> str:
    """Digest names, shapes and sampled values of the backbone, to know it again."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if in_modules(name, head_modules):
            continue
        sample = parameter.detach().flatten()[:: max(1, parameter.numel() // SAMPLED_PER_TENSOR)]
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()

"""GOFT and qGOFT: fine-tuning by learnt Givens rotations, as a PEFT method and a command.

`import goft_cli` stays light, and makes the method known to PEFT as soon as PEFT is imported,
before it or after it: `PeftModel.from_pretrained` opens GOFT adapters. The names in `PUBLIC` are
imported when they are first used.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from goft_cli.system import __version__
from goft_cli.system.late import when_imported

if TYPE_CHECKING:
    from goft_cli.cli.python import load, predict, train
    from goft_cli.system.errors import GoftError
    from goft_cli.tuner import GoftConfig, GoftLayer, GoftModel, set_strength, strength_of
    from goft_cli.tuner.penalty import PenaltyMixin

__all__ = [
    "GoftConfig",
    "GoftError",
    "GoftLayer",
    "GoftModel",
    "PenaltyMixin",
    "__version__",
    "load",
    "predict",
    "set_strength",
    "strength_of",
    "train",
]

PUBLIC = {
    "GoftConfig": "goft_cli.tuner",
    "GoftError": "goft_cli.system.errors",
    "GoftLayer": "goft_cli.tuner",
    "GoftModel": "goft_cli.tuner",
    "PenaltyMixin": "goft_cli.tuner.penalty",
    "set_strength": "goft_cli.tuner",
    "strength_of": "goft_cli.tuner",
    **dict.fromkeys(("load", "predict", "train"), "goft_cli.cli.python"),
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hook, one type per name
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC]


def _register() -> None:
    try:
        import_module("goft_cli.tuner")
    except Exception as error:  # PEFT itself was imported, and stays of use
        warnings.warn(
            f"PEFT does not know GOFT adapters: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


when_imported("peft", _register)

"""GOFT and qGOFT: fine-tuning by learnt Givens rotations, as a PEFT method and a command.

`import goft_cli` stays light. Touching `GoftConfig`, `GoftModel` or `GoftLayer` imports torch and
peft, and makes the method known to PEFT, so that `PeftModel.from_pretrained` opens GOFT adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goft_cli.tuner import GoftConfig, GoftLayer, GoftModel
    from goft_cli.tuner.penalty import PenaltyMixin

__version__ = "0.2.0"
__all__ = ["GoftConfig", "GoftLayer", "GoftModel", "PenaltyMixin", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hook, one type per name
    if name in {"GoftConfig", "GoftLayer", "GoftModel"}:
        from goft_cli import tuner

        return getattr(tuner, name)
    if name == "PenaltyMixin":
        from goft_cli.tuner.penalty import PenaltyMixin

        return PenaltyMixin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

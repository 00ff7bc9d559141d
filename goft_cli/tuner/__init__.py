"""GOFT and qGOFT as a PEFT method. Importing this package makes PEFT know `peft_type: GOFT`."""

from __future__ import annotations

from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.layer import GoftLayer
from goft_cli.tuner.model import GoftModel
from goft_cli.tuner.register import register_goft

register_goft(GoftConfig, GoftModel)

__all__ = ["GoftConfig", "GoftLayer", "GoftModel"]

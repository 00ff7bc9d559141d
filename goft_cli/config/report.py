"""What `goft report` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class ReportConfig:
    """`goft report`: one page on one or several finished runs."""

    runs: Any = MISSING
    """A run folder, a folder with runs somewhere below it, or a list of such."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    output_dir: str | None = None
    """Folder for the page and its figures; `report` beside the runs by default."""

"""What `goft verify` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from goft_cli.config.checks import check
from goft_cli.config.verbs import check_batch_size
from goft_cli.system.errors import GoftError


@dataclass
class VerifyConfig:
    """`goft verify RUN ...`: words without a key are `runs`."""

    adapter: str | None = None
    """The run folder, or the adapter folder inside it."""
    runs: Any = None
    """Several: run folders, or folders with runs somewhere below them."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    data_dir: str | None = None
    """Folder with the task's data, if it has moved since training."""
    max_samples: int | None = None
    """Rows of each split to score again; all of them by default."""
    batch_size: int = 64
    """Rows at a time."""

    def __post_init__(self) -> None:
        """Check the ranges, and that there is a run."""
        check_batch_size(self.batch_size)
        rows = self.max_samples
        check(
            rows is None or rows > 0,
            key="max_samples",
            value=rows,
            expected="at least 1",
            example=64,
        )
        if (self.adapter is None) == (self.runs is None):
            found = "none" if self.adapter is None else "both adapter and runs"
            raise GoftError(
                f"verify: expected a run, found {found}",
                "write goft verify RUN_FOLDER, or runs=[RUN_FOLDER,RUN_FOLDER]",
            )
        if not self.places or not all(isinstance(place, str) and place for place in self.places):
            raise GoftError(
                f"runs={self.runs}: expected one or several folders, such as runs=[FOLDER,FOLDER]"
            )

    @property
    def places(self) -> list[str]:
        """The folders that were named."""
        named: Any = self.adapter if self.runs is None else self.runs
        return list(named) if isinstance(named, list) else [named]

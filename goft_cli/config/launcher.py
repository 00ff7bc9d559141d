"""How many processes train together."""

from __future__ import annotations

from dataclasses import dataclass

from goft_cli.config.checks import check


@dataclass
class LauncherConfig:
    """The processes of one run, on this machine one per GPU."""

    num_processes: int = 1
    """Processes on this machine, one for each GPU."""

    def __post_init__(self) -> None:
        """Check the range."""
        count = self.num_processes
        key = "launcher.num_processes"
        check(count > 0, key=key, value=count, expected="at least 1", example=2)

"""`goft doctor ...`, with the words of `goft train`: what would stop or spoil the run."""

from __future__ import annotations

import sys

from goft_cli.config import DoctorConfig
from goft_cli.studies.sweep import run_composed


def main() -> None:
    """Compose `configs/doctor.yaml` and examine it."""
    run_composed("doctor", DoctorConfig, doctor)


def doctor(cfg: DoctorConfig) -> None:
    """Show every finding; exit 0 if nothing is to mend, 1 if something would stop the run."""
    import logging

    from rich.console import Console

    from goft_cli.doctor import examine
    from goft_cli.system.tables import is_healthy, show_remedies, table_of

    logging.getLogger("goft_cli").addHandler(logging.NullHandler())  # the table says it all
    findings, screen = examine(cfg), Console(highlight=False)
    screen.print(table_of("goft doctor", findings))
    show_remedies(findings, screen)
    if not is_healthy(findings):
        sys.exit(1)
    screen.print("nothing would stop this run")

"""`goft verify RUN`: whether what a run recorded still holds."""

from __future__ import annotations

import sys

from goft_cli.command_line.composition import run_verb
from goft_cli.config import VerifyConfig


def main() -> None:
    """Compose `configs/verify.yaml` and verify."""
    run_verb("verify", VerifyConfig, verify)


def verify(cfg: VerifyConfig) -> None:
    """Show what holds of each run; exit 0 if all does, 1 if something does not.

    Raises:
        GoftError: no such run, or one that is not finished or cannot be read.
    """
    from goft_cli.logs import quiet_libraries
    from goft_cli.rechecking.findings import all_hold, show
    from goft_cli.rechecking.recheck import recheck, run_folders

    folders = run_folders(cfg.places)
    hold = True
    for folder in folders:
        with quiet_libraries():
            findings = list(recheck(folder, cfg))
        show(str(folder.path), findings)
        hold &= all_hold(findings)
    if not hold:
        sys.exit(1)

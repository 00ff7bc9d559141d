"""`goft verify RUN`: check whether the records of a run still hold."""

from __future__ import annotations

import sys

from goft_cli.config import VerifyConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/verify.yaml` and verify."""
    run_composed("verify", VerifyConfig, verify)


def verify(cfg: VerifyConfig) -> None:
    """Show which records of each run hold; exit 0 if all do, 1 if one does not."""
    from rich.console import Console

    from goft_cli.system.imports import importing
    from goft_cli.system.tables import is_healthy, table_of

    with importing(packed=True):  # one of the runs may be
        from goft_cli.system.screen import console, quiet_libraries
        from goft_cli.verbs.verify.outputs import WORDS
        from goft_cli.verbs.verify.recheck import recheck, run_folders

    hold = True
    for folder in run_folders(cfg.places):
        findings = []
        with quiet_libraries():
            for finding in recheck(folder, cfg):
                findings.append(finding)
                console.print(f"checked: {finding.subject}", style="dim", markup=False)
        Console(highlight=False).print(table_of(str(folder.path), findings, WORDS))
        hold &= is_healthy(findings)
    if not hold:
        sys.exit(1)

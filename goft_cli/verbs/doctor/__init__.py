"""`goft doctor`: what would stop or spoil a run, found before it starts."""

from __future__ import annotations

import sys

from goft_cli.config import DoctorConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.tables import Finding
from goft_cli.verbs.doctor.inputs import (
    examine_hub,
    examine_inputs,
    examine_offline,
    examine_packing,
    examine_tokenizer,
    examine_tracker,
)
from goft_cli.verbs.doctor.machine import (
    examine_accelerate,
    examine_disk,
    examine_gpu,
    examine_half_precision,
    examine_packages,
    examine_rotation,
)


def examine(cfg: DoctorConfig) -> list[Finding]:
    """Make every check, the proof that nothing needs the network last."""
    findings = [
        examine_packages(),
        examine_gpu(cfg.trainer),
        examine_half_precision(cfg),
        examine_rotation(cfg),
        examine_packing(cfg),
        examine_tokenizer(cfg.model),
        examine_disk(cfg),
        examine_accelerate(),
        examine_tracker(cfg.tracker, offline=cfg.offline),
    ]
    if cfg.offline:
        return [*findings, examine_offline(cfg)]
    return [*findings, examine_hub(), *examine_inputs(cfg)]


def main() -> None:
    """Compose `configs/doctor.yaml` and examine it."""
    run_composed("doctor", DoctorConfig, doctor)


def doctor(cfg: DoctorConfig) -> None:
    """Show every finding; exit 0 if nothing is to mend, 1 if something would stop the run."""
    import logging

    from rich.console import Console

    from goft_cli.system.tables import is_healthy, show_remedies, table_of

    logging.getLogger("goft_cli").addHandler(logging.NullHandler())  # the table says it all
    findings, screen = examine(cfg), Console(highlight=False)
    screen.print(table_of("goft doctor", findings))
    show_remedies(findings, screen)
    if not is_healthy(findings):
        sys.exit(1)
    screen.print("nothing would stop this run")

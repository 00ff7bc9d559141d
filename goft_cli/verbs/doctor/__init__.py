"""`goft doctor`: what would stop or spoil a run, found before it starts."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from goft_cli.config import DoctorConfig
from goft_cli.studies.hydra_main import run_composed

if TYPE_CHECKING:
    from goft_cli.system.tables import Finding


def main() -> None:
    """Compose `configs/doctor.yaml` and examine it."""
    run_composed("doctor", DoctorConfig, doctor)


def doctor(cfg: DoctorConfig) -> None:
    """Show every finding; exit 0 if nothing would stop the run, 1 if something would."""
    from rich.console import Console

    from goft_cli.system.tables import is_healthy, show_remedies, table_of

    logging.getLogger("goft_cli").addHandler(logging.NullHandler())  # the table says it all
    findings, screen = examine(cfg), Console(highlight=False)
    screen.print(table_of("goft doctor", findings))
    show_remedies(findings, screen)
    if not is_healthy(findings):
        sys.exit(1)
    screen.print("nothing would stop this run")


def examine(cfg: DoctorConfig) -> list[Finding]:
    """Make every check; the one with the network cut comes last."""
    from goft_cli.verbs.doctor import inputs, machine  # only now: they import torch

    findings = [
        machine.examine_packages(),
        machine.examine_gpu(cfg.trainer),
        machine.examine_half_precision(cfg),
        machine.examine_rotation(cfg),
        inputs.examine_packing(cfg),
        inputs.examine_tokenizer(cfg.model),
        machine.examine_disk(cfg),
        machine.examine_tokens(clear=cfg.clear is not None),
        machine.examine_accelerate(),
        inputs.examine_tracker(cfg.tracker, offline=cfg.offline),
        *inputs.examine_settings(cfg),
        *inputs.examine_adapter(cfg),
    ]
    if cfg.offline:
        return [*findings, inputs.examine_offline(cfg)]
    return [*findings, inputs.examine_hub(), *inputs.examine_inputs(cfg)]

"""`goft doctor`: what would stop or spoil a run, found before it starts."""

from __future__ import annotations

from goft_cli.config import DoctorConfig
from goft_cli.doctor.inputs import (
    examine_hub,
    examine_inputs,
    examine_offline,
    examine_packing,
    examine_tokenizer,
    examine_tracker,
)
from goft_cli.doctor.machine import (
    examine_accelerate,
    examine_disk,
    examine_gpu,
    examine_half_precision,
    examine_packages,
)
from goft_cli.doctor.rotation import examine_rotation
from goft_cli.system.tables import Finding


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

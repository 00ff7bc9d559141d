"""Describe the machine on which a benchmark runs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from goft_cli.run.manifest import environment


def machine() -> dict[str, Any]:
    """Return the versions and hardware of a run's manifest, and the processor's name."""
    return {"cpu": cpu_name(), **environment()}


def name_of(device: torch.device) -> str:
    """Return the name of a device, for a CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """Return the processor's name as Linux states it, or else as Python does."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

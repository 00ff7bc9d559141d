"""The machine that made the numbers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from goft_cli.run.manifest import environment


def machine() -> dict[str, Any]:
    """Versions and hardware as a run's manifest has them, and the processor."""
    return {"cpu": cpu_name(), **environment()}


def name_of(device: torch.device) -> str:
    """What the device is called, with the number of threads for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor's name, where Linux has it; else what Python knows."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

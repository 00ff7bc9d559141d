"""The machine: where to run, and what a measurement must be read with."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import peft
import torch
import transformers

import goft_cli
from goft_cli.errors import GoftError


def device_named(name: str) -> torch.device:
    """Return where to run.

    Raises:
        GoftError: cuda without a GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise GoftError("--device cuda: torch finds no GPU, expected one; pass --device cpu")
    return torch.device(name)


def describe(device: torch.device) -> dict[str, object]:
    """Return the processor, its cores, the threads in use, the GPU if one is used, versions."""
    modules = {"torch": torch, "transformers": transformers, "peft": peft, "goft-cli": goft_cli}
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: str(module.__version__) for name, module in modules.items()},
    }


def cpu_model() -> str:
    """Return the processor's name, from /proc where there is one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

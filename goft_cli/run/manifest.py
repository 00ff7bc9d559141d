"""What made the numbers: versions, hardware, data, model, source revision."""

from __future__ import annotations

import platform
import re
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from goft_cli import __version__
from goft_cli.rotation import forced_engine
from goft_cli.training.launch_checks import sharding_engine

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "hydra-core")


def environment() -> dict[str, Any]:
    """Return versions, hardware, and what the environment asks for."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "goft_cli": __version__,
        "source_revision": source_revision(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
        "rotation_engine": forced_engine(),
        "sharding": sharding_engine(),
    }


def installed_version(package: str) -> str | None:
    """Return a package's version, None if it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def source_revision() -> str | None:
    """Return the git commit of the source checkout, with `+` for uncommitted changes."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = git(root, "rev-parse", "HEAD")
        return commit + ("+" if git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def git(root: Path, *arguments: str) -> str:
    """Run one git command in the source checkout."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def peak_memory_bytes() -> int:
    """Return the allocator's peak on a GPU, the process's resident peak on a CPU.

    Linux is asked for this program's own peak: getrusage also counts what the process was before
    it became this program, a copy of its parent.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Which checkpoint to resume from: the newest one that is whole.

Trainer resumes silently when an optimizer or random state is missing, so completeness is checked
here: a damaged checkpoint is named and passed over.
"""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
REQUIRED = (STATE, WEIGHTS, SETTINGS, "optimizer.pt", "scheduler.pt")


def newest_complete(folder: Path) -> Path | None:
    """Return the newest whole checkpoint under `folder`, or None to start afresh."""
    for checkpoint in sorted(by_step(folder), reverse=True):
        path = by_step(folder)[checkpoint]
        damage = find_damage(path)
        if damage is None:
            return path
        logger.warning("%s is damaged (%s); taking the one before it", path, damage)
    return None


def by_step(folder: Path) -> dict[int, Path]:
    """Return checkpoint folders by their number of updates."""
    found = {}
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = path.name.rpartition("-")[2]
        if path.is_dir() and step.isdigit():
            found[int(step)] = path
    return found


def find_damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None if it is whole."""
    for name in REQUIRED:
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
    if not list(checkpoint.glob("rng_state*.pth")):
        return "rng_state.pth is missing"
    archives = [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]
    for archive in archives:
        if not is_whole_archive(archive):
            return f"{archive.name} is truncated"
    return unreadable(checkpoint)


def unreadable(checkpoint: Path) -> str | None:
    """Name the weights, state or settings file that does not parse."""
    try:
        with safe_open(checkpoint / WEIGHTS, framework="pt") as tensors:
            tensors.keys()
    except (SafetensorError, OSError):
        return f"{WEIGHTS} is truncated"
    for name in (STATE, SETTINGS):
        try:
            json.loads((checkpoint / name).read_text(encoding="utf-8"))
        except (ValueError, OSError):
            return f"{name} is truncated"
    return None


def is_whole_archive(path: Path) -> bool:
    """Tell whether a file of torch.save has its directory and all checksums, unpickling nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False

"""Checkpoints that are whole or not there: written aside, sealed, renamed, and verified when read.

Trainer writes file by file into the final folder and resumes silently when an optimizer or random
state is missing. So a checkpoint gets a list of its files, with sizes and digests, before it gets
its name; whatever does not agree with its list is named and passed over.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from goft_cli.runs.digests import file_sha256

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
SEAL = "files.json"
ASIDE = ".aside"
"""Folder beside the checkpoints in which the next one is written."""


def checkpoint_name(step: int) -> str:
    """Return Trainer's name for the checkpoint after `step` updates."""
    return f"{PREFIX_CHECKPOINT_DIR}-{step}"


def newest_complete(folder: Path) -> Path | None:
    """Return the newest whole checkpoint under `folder`, or None to start afresh.

    The best checkpoint so far is part of it: its weights are the run's result if none is better.
    """
    for _, path in sorted(by_step(folder).items(), reverse=True):
        damage = find_damage(path) or find_damage_to_best(path)
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


def seal(checkpoint: Path) -> None:
    """Write the list of a checkpoint's files; nothing may change after this."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    listed = {
        path.relative_to(checkpoint).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in files
    }
    (checkpoint / SEAL).write_text(json.dumps(listed, indent=1), encoding="utf-8")


def publish(aside: Path, final: Path) -> None:
    """Give a sealed checkpoint its name; one that already has it was passed over as damaged."""
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)


def rotate(folder: Path, keep: int, protected: set[str]) -> None:
    """Delete the checkpoints written longest ago, until `keep` are left.

    Trainer goes by their numbers where times are close, and would keep a damaged one of a higher
    number in place of those written since.
    """
    written = sorted(by_step(folder).values(), key=lambda path: path.stat().st_mtime_ns)
    expendable = [path for path in written if path.name not in protected]
    for path in expendable[: max(0, len(written) - keep)]:
        shutil.rmtree(path)


def find_damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None if it is as it was sealed."""
    try:
        listed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return f"{SEAL}, the list of its files, is missing or truncated"
    for name, (size, content) in listed.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} is truncated"
        if file_sha256(path) != content:
            return f"{name} is altered"
    return None


def find_damage_to_best(checkpoint: Path) -> str | None:
    """Say what is wrong with the best checkpoint that a whole one relies on."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    step = state.get("best_global_step")
    if not step or step == state["global_step"]:
        return None
    best = checkpoint.with_name(checkpoint_name(step))
    damage = find_damage(best) if best.is_dir() else "it is missing"
    return damage and f"the best so far, {best.name}: {damage}"

"""Atomic checkpoints: written to a temporary folder, sealed, renamed, and verified when read.

Trainer writes file by file into the final folder, and resumes without a warning if an optimizer or
random state is missing. Therefore a list of the checkpoint's files, with sizes and digests, is
written before it is renamed; a checkpoint that does not match its list is reported and skipped.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeGuard

from torch.serialization import get_unsafe_globals_in_checkpoint
from transformers import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from goft_cli.system.digests import file_sha256
from goft_cli.system.files import kind_of

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
SEAL = "files.json"
TENSORS = ("optimizer.pt", "scheduler.pt")
"""Files that Trainer writes with `torch.save`; only tensors and numbers are read from them."""
STEP = re.compile("0|[1-9][0-9]*")
"""A number of updates; `isdigit` would accept superscript digits, which `int` refuses."""
ASIDE = ".aside"
"""Folder beside the checkpoints in which the next one is written."""


def checkpoint_name(step: int) -> str:
    """Return Trainer's name for the checkpoint after `step` updates."""
    return f"{PREFIX_CHECKPOINT_DIR}-{step}"


def newest_complete(folder: Path) -> Path | None:
    """Return the newest undamaged checkpoint under `folder`; None if there is none.

    The best checkpoint so far is part of it: its weights are the run's result if none is better.
    """
    found = by_step(folder)
    for path in sorted(set(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")) - set(found.values())):
        kind = kind_of(path) or ("a file" if path.exists() else "a link to nothing")
        logger.warning("%s is %s, not a checkpoint; it is skipped", path, kind)
    for _, path in sorted(found.items(), reverse=True):
        damage = find_damage(path) or find_damage_to_state(path)
        if damage is None:
            return path
        logger.warning("%s is damaged (%s); the checkpoint before it is used", path, damage)
    return None


def by_step(folder: Path) -> dict[int, Path]:
    """Return checkpoint folders by their number of updates."""
    found = {}
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = path.name.rpartition("-")[2]
        if path.is_dir() and STEP.fullmatch(step):
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
    """Rename a sealed checkpoint; a checkpoint of that name was damaged and is deleted."""
    discard(final)
    aside.rename(final)


def discard(path: Path) -> None:
    """Delete the file or folder at a checkpoint's path; of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def prune(folder: Path, keep: int, protected: set[str]) -> None:
    """Delete the oldest checkpoints, by time of writing, until `keep` are left.

    Trainer compares numbers if times are close, and would keep a damaged checkpoint with a higher
    number instead of newer ones.
    """
    written = sorted(by_step(folder).values(), key=lambda path: path.stat().st_mtime_ns)
    expendable = [path for path in written if path.name not in protected]
    for path in expendable[: max(0, len(written) - keep)]:
        discard(path)


def find_damage(checkpoint: Path) -> str | None:
    """Describe the damage of a checkpoint; None if it is as it was sealed."""
    listed = json_or_none(checkpoint / SEAL)
    if not is_seal(listed):
        return f"{SEAL}, the list of its files, is missing or damaged"
    for name, (size, content) in listed.items():
        path = checkpoint / name
        try:
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} is truncated"
            if file_sha256(path) != content:
                return f"{name} is altered"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def find_damage_to_state(checkpoint: Path) -> str | None:
    """Describe what a sealed checkpoint lacks: Trainer's state, totals, the best checkpoint."""
    state = json_or_none(checkpoint / STATE)
    if not is_state(state):
        return f"{STATE} is not what training writes"
    for name in TENSORS:
        if (checkpoint / name).is_file() and not holds_tensors(checkpoint / name):
            return f"{name} holds no tensors, or more than those"
    step = state["best_global_step"]
    if not step or step == state["global_step"]:
        return None
    best = checkpoint.with_name(checkpoint_name(step))
    damage = find_damage(best) if best.is_dir() else "it is missing"
    return damage and f"the best so far, {best.name}: {damage}"


def holds_tensors(path: Path) -> bool:
    """Tell whether a file contains only tensors; the tensors are not read."""
    try:
        return not get_unsafe_globals_in_checkpoint(str(path))
    except (OSError, RuntimeError, ValueError, UnpicklingError):
        return False


def json_or_none(path: Path) -> Any:  # noqa: ANN401 - whatever somebody put there
    """Read a file of a checkpoint."""
    if kind_of(path):
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def is_seal(listed: object) -> TypeGuard[dict[str, tuple[int, str]]]:
    """Tell whether this is the size and SHA-256 of files by their names."""
    return isinstance(listed, dict) and all(
        isinstance(entry, list) and [type(value) for value in entry] == [int, str]
        for entry in listed.values()
    )


def is_state(state: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether this is a state that Trainer accepts, with the totals for resuming."""
    if not isinstance(state, dict):
        return False
    try:
        TrainerState(**state)
        totals = state["stateful_callbacks"]["Totals"]["attributes"]
        steps = [state["global_step"], state["best_global_step"] or 0]
        numbers = [totals["seconds"], totals["loss"]]
    except (TypeError, LookupError):
        return False
    return all(type(n) is int for n in steps) and all(type(n) in {int, float} for n in numbers)

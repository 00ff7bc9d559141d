"""The record of what goft wrote into a run folder, so that no more than that is ever deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

RECORD = "written.txt"
"""Names of the files and folders beside it, one a line, that only some runs have."""
ALWAYS = (
    "metrics.json",
    "adapter",
    "checkpoints",
    "curves.png",
    "eval.json",
    "history.json",
    "manifest.json",
    "run.log",
    "tensorboard",
    "wandb",
)
"""What any run may write, in the order of removal: without its numbers a run is not finished."""
FIRST_VERSION = (
    "predictions.*.jsonl",
    "predictions.json",
    "nbest_predictions.json",
    "answers.*.jsonl",
    "judgments.*.jsonl",
    "eval.*.json",
    "merged/merge_report.json",
    "lora-*/merge_report.json",
    "report/report.html",
)
"""What goft-cli 0.1.0 wrote besides; it kept no record."""


def begin_record(folder: Path) -> None:
    """Start the record of a run, with what the first version wrote if it is one of its runs."""
    if not (folder / RECORD).exists():
        folder.mkdir(parents=True, exist_ok=True)
        append(folder, recorded(folder))


def note(folder: Path, *names: str) -> None:
    """Record what is about to be written into a run folder; a folder of no run keeps no record."""
    if (folder / "config.yaml").is_file():
        begin_record(folder)
        append(folder, set(names) - recorded(folder))


def append(folder: Path, names: set[str]) -> None:
    """Add to the record; two verbs may do so at once."""
    with (folder / RECORD).open("a", encoding="utf-8") as record:
        record.writelines(f"{name}\n" for name in sorted(names))


def recorded(folder: Path) -> set[str]:
    """Return the names in the record, or those that the first version would have recorded."""
    if (folder / RECORD).is_file():
        return set((folder / RECORD).read_text(encoding="utf-8").splitlines())
    found = [path for pattern in FIRST_VERSION for path in folder.glob(pattern)]
    return {path.relative_to(folder).parts[0] for path in found}


def clear(folder: Path) -> None:
    """Remove what goft wrote into a run folder, except its configuration, and empty the record.

    A folder that goft wrote, such as the adapter or a merged model, goes with all that is in it.
    """
    # a name that leads elsewhere, as "" and ".." do, was not written by goft
    names = [name for name in sorted(recorded(folder)) if name.strip(".") and "/" not in name]
    for path in (folder / name for name in (*ALWAYS, *names)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (folder / RECORD).write_text("", encoding="utf-8")

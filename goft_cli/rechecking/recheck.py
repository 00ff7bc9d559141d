"""Every check of one run, in an order that goes on as far as what was found before allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goft_cli.config import TaskConfig, TrainConfig, VerifyConfig
from goft_cli.errors import GoftError
from goft_cli.page.gather import folders_below
from goft_cli.rechecking.findings import Finding, Verdict, judged, of_files, unrecorded
from goft_cli.rechecking.outputs import Rescored, certificates, merged_again, scored_again
from goft_cli.runs.provenance import (
    adapter_changes,
    base_on_disk,
    changes_on_disk,
    data_changes,
    section,
)
from goft_cli.runs.run_folder import RunFolder, read_config, read_json
from goft_cli.runs.trained import TrainedRun, find_run, moved, open_trained
from goft_cli.tasks.base import TaskData


def run_folders(places: Sequence[str]) -> list[RunFolder]:
    """Return the runs that places name: a run, its adapter folder, or a folder with runs below it.

    Raises:
        GoftError: there is none, or it is not finished.
    """
    found: list[RunFolder] = []
    for place in places:
        path = Path(place).expanduser()
        is_run = any((folder / "config.yaml").is_file() for folder in (path, path.parent))
        found += [find_run(place)] if is_run else folders_below(place)
    return found


def recheck(folder: RunFolder, cfg: VerifyConfig) -> Iterator[Finding]:
    """Recheck every digest, reload, score again, merge again.

    Args:
        folder: of a finished run.
        cfg: where model and data are now, and how many rows to score.

    Yields:
        findings, each as soon as it is known.

    Raises:
        GoftError: the run's configuration, manifest or scores cannot be read.
    """
    manifest = read_json(folder.manifest)
    run_cfg = moved(read_config(folder.config), cfg.base_model, cfg.data_dir)
    yield base_files(manifest, run_cfg, is_moved=cfg.base_model is not None)
    adapter = section(section(manifest, "adapter"), "sha256")
    yield of_files("adapter files", list(adapter), adapter_changes(manifest, folder))
    if run_cfg.benchmark is not None:
        yield data_files("benchmark files", section(manifest, "benchmark"), run_cfg.benchmark)
    data_found = data_files("data files", section(manifest, "data"), run_cfg.task)
    try:
        run = open_trained(str(folder.path), base_model=cfg.base_model, data_dir=cfg.data_dir)
    except GoftError as error:
        yield from (data_found, judged("reloaded", str(error), holds=False))
        return
    try:
        data = run.task.load()
    except GoftError as error:
        yield from (reloaded(run), judged("data", str(error), holds=False))
        return
    yield data_read(data_found, run, data)
    yield reloaded(run)
    yield from from_outputs(run, data, cfg)


def base_files(manifest: Mapping[str, Any], cfg: TrainConfig, *, is_moved: bool) -> Finding:
    """Compare the base model's files; weights saved anew elsewhere are known by fingerprint."""
    subject, recorded = "base model files", section(manifest, "model")
    try:
        changes = base_on_disk(recorded, cfg.model, fresh=True)
    except GoftError as error:
        return judged(subject, str(error), holds=False)
    if is_moved and changes:
        return unrecorded(subject, f"{changes[0]}; the fingerprint decides")
    return of_files(subject, list(section(recorded, "sha256")), changes)


def data_files(subject: str, recorded: Mapping[str, Any], task: TaskConfig) -> Finding:
    """Compare the data's files, every byte read."""
    try:
        changes = changes_on_disk(recorded, task, fresh=True)
    except GoftError as error:
        return judged(subject, str(error), holds=False)
    return of_files(subject, list(section(recorded, "sha256")), changes)


def data_read(files: Finding, run: TrainedRun, data: TaskData) -> Finding:
    """Compare the data as it is read too: a file more, another revision, rows made anew."""
    if files.verdict is not Verdict.holds:
        return files
    recorded = section(run.manifest, "data")
    changes = data_changes(recorded, data.provenance, all_splits=True)
    return of_files(files.subject, list(section(recorded, "sha256")), changes)


def reloaded(run: TrainedRun) -> Finding:
    """Say that the run has been opened, by every check that the other verbs make."""
    return judged("reloaded", f"base weights {run.backbone.fingerprint[:12]}", holds=True)


def from_outputs(run: TrainedRun, data: TaskData, cfg: VerifyConfig) -> Iterator[Finding]:
    """Run the model on rows, merge it, and compare with scores and certificates.

    Raises:
        GoftError: the run's scores cannot be read.
    """
    rescored = Rescored.of(run, data, cfg)
    yield from scored_again(rescored)
    yield from certificates(rescored)
    yield merged_again(rescored)

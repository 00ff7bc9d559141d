"""Every check of one run in order, as far as earlier findings allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goft_cli.config import TaskConfig, TrainConfig, VerifyConfig
from goft_cli.run.configuration import read_config, written_sha256
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import (
    adapter_changes,
    are_comparable,
    base_on_disk,
    changes_on_disk,
    data_changes,
    init_changes,
    section,
)
from goft_cli.run.record import find_run, find_runs
from goft_cli.run.trained import open_trained, placed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json
from goft_cli.system.tables import Finding
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.families import build_task
from goft_cli.verbs.verify.outputs import (
    Rescored,
    certificates,
    judged,
    merged_again,
    of_files,
    scored_again,
    unrecorded,
)


def run_folders(places: Sequence[str]) -> list[RunFolder]:
    """Return the runs at places: a run, its adapter folder, or a folder with runs below it."""
    found: list[RunFolder] = []
    for place in places:
        path = Path(place).expanduser()
        is_run = any((folder / "config.yaml").is_file() for folder in (path, path.parent))
        found += [find_run(place)] if is_run else [run.folder for run in find_runs(place)]
    return found


def recheck(folder: RunFolder, cfg: VerifyConfig) -> Iterator[Finding]:
    """Recheck every digest of a finished run, reload it, score again, merge again."""
    manifest = read_json(folder.manifest)
    run_cfg = placed(read_config(folder.config), manifest, cfg.base_model, cfg.data_dir)
    yield configuration(manifest, folder)
    yield base_files(manifest, run_cfg, is_moved=cfg.base_model is not None)
    adapter = section(section(manifest, "adapter"), "sha256")
    yield of_files("adapter files", list(adapter), adapter_changes(manifest, folder))
    if started := section(manifest, "init_adapter"):
        changes = init_changes(manifest)
        yield of_files("adapter it started from", list(section(started, "sha256")), changes)
    if run_cfg.benchmark is not None:
        recorded = section(manifest, "benchmark")
        changes = changes_on_disk(recorded, run_cfg.benchmark, fresh=True)
        yield of_files("benchmark files", list(section(recorded, "sha256")), changes)
    found, data = read_data(section(manifest, "data"), run_cfg.task)
    yield found
    try:
        run = open_trained(str(folder.path), base_model=cfg.base_model, data_dir=cfg.data_dir)
    except GoftError as error:
        yield judged("reloaded", str(error), holds=False)
        return
    yield judged("reloaded", f"base weights {run.backbone.fingerprint[:12]}", holds=True)
    if data is not None:
        rescored = Rescored.of(run, data, cfg)
        yield from scored_again(rescored)
        yield from certificates(rescored)
        yield merged_again(rescored)  # last, for it uses the model up


def configuration(manifest: Mapping[str, Any], folder: RunFolder) -> Finding:
    """Compare the values in `config.yaml` with those that the run was started with."""
    subject, name = "configuration", folder.config.name
    then, now = manifest.get("config_sha256"), written_sha256(folder.config)
    if then is None or now is None:
        return unrecorded(subject)
    same = then == now
    found = name if same else f"{name} was edited ({then[:12]} was recorded, {now[:12]} found)"
    return judged(subject, found, holds=same)


def base_files(manifest: Mapping[str, Any], cfg: TrainConfig, *, is_moved: bool) -> Finding:
    """Compare the base model's files; the fingerprint decides on those of a moved one."""
    subject, recorded = "base model files", section(manifest, "model")
    try:
        changes = base_on_disk(recorded, cfg.model, fresh=True)
    except GoftError as error:
        return judged(subject, str(error), holds=False)
    if is_moved and changes:
        return unrecorded(subject, f"{changes[0]}; the fingerprint decides")
    return of_files(subject, list(section(recorded, "sha256")), changes)


def read_data(recorded: Mapping[str, Any], task: TaskConfig) -> tuple[Finding, TaskData | None]:
    """Read the data and compare every byte of its files, and the rows read from them."""
    try:
        data = build_task(task).load()
        if not are_comparable(recorded, data.provenance):
            return unrecorded("data files"), data
        changes = changes_on_disk(recorded, task, fresh=True)
        changes = changes or data_changes(recorded, data.provenance, all_splits=True)
    except GoftError as error:
        return judged("data files", str(error), holds=False), None
    return of_files("data files", list(section(recorded, "sha256")), changes), data

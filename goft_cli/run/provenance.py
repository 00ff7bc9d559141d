"""A run's record of its base model, data and adapter, compared with the present files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goft_cli.config import ImageClassificationConfig, ModelConfig, TaskConfig, TrainConfig
from goft_cli.run.configuration import differing
from goft_cli.run.folder import RunFolder, is_finished, stored_config
from goft_cli.run.manifest import describe_base
from goft_cli.system.digests import digests, image_digests, image_names, split_digits
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json

Section = Mapping[str, Any]
"""Part of the manifest: `sha256` by file name below `source`, or below the hub's `cache`."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BESIDE_ARROW = ("/state.json", "/dataset_info.json")
"""Files of `save_to_disk` that version 0.1.0 left out of its record."""
TRAIN_ANEW = "restore it, or train again with overwrite=true or another run_name=NAME"
OTHER_BASE = "restore it, or pass base_model=PATH of a copy of the original"
OTHER_DATA = "restore it, or pass data_dir=DIR to read other data on purpose"
COPY_RUN = "copy the run folder again, or train it again with overwrite=true"


@dataclass(frozen=True)
class Change:
    """A file whose digest changed; a digest is None if the file was, or is, missing."""

    name: str
    recorded: str | None
    found: str | None

    def __str__(self) -> str:
        """Say how it changed, with the first digits of its digests."""
        then, now = str(self.recorded)[:12], str(self.found)[:12]
        if self.recorded is None:
            return f"{self.name} is new ({now})"
        if self.found is None:
            return f"{self.name} is missing ({then} was recorded)"
        return f"{self.name} has changed ({then} was recorded, {now} found)"


def section(parent: Mapping[str, Any], key: str) -> Section:
    """Return one part of a manifest; empty where an early or damaged one has none."""
    found = parent.get(key)
    return found if isinstance(found, Mapping) else {}


def require_unchanged(changes: Sequence[Change], run: Path, remedy: str) -> None:
    """Refuse to use a run with other files than it recorded."""
    if changes:
        more = f", and {len(changes) - 1} more files" if changes[1:] else ""
        raise GoftError(f"{changes[0]}{more} since {run} used it", remedy)


def base_on_disk(recorded: Section, cfg: ModelConfig, *, fresh: bool = False) -> list[Change]:
    """Compare the record of a base model with its files; an earlier version left no record."""
    found = describe_base(cfg, fresh=fresh) if recorded.get("sha256") else {"source": cfg.path}
    return base_changes(recorded, found)


def base_changes(recorded: Section, found: Section) -> list[Change]:
    """Compare two descriptions of a base model.

    The hub's cache may lack, or hold, a file that only other programs read; a folder may not.
    """
    changes, of_hub = file_changes(recorded, found), found.get("revision")
    return [one for one in changes if (one.found and one.recorded) or not of_hub]


def data_changes(recorded: Section, found: Section, *, all_splits: bool) -> list[Change]:
    """Compare the record with the data that was read just now, all splits of the run or some."""
    then, now = recorded.get("revision"), found.get("revision")
    same_revision = then in {None, now}
    if same_revision and recorded.get("cache") != found.get("cache"):
        return []  # another cache of the same revision, whose files need not be equal
    shared = section(recorded, "sha256").keys() & section(found, "sha256").keys()
    if not same_revision and not shared:
        return [Change(str(found["source"]), then, now)]
    # the files count, whatever the revision: most commits change only a card
    changes = file_changes(recorded, found)
    return [*(one for one in changes if one.found or all_splits), *image_changes(recorded, found)]


def are_comparable(recorded: Section, found: Section) -> bool:
    """Tell whether digests were recorded, and both are of the hub's files or both are not."""
    of_hub = [part.get("revision") is not None for part in (recorded, found)]
    return bool(section(recorded, "sha256")) and of_hub[0] == of_hub[1]


def file_changes(recorded: Section, found: Section) -> list[Change]:
    """Compare two sections file by file; where nothing was recorded, nothing has changed."""
    old, new = section(recorded, "sha256"), section(found, "sha256")
    place = found.get("cache") or found["source"]
    names = dict.fromkeys([*old, *new] if old else ())
    if not any(name.endswith(BESIDE_ARROW) for name in old):
        names = [name for name in names if not name.endswith(BESIDE_ARROW)]
    return [
        Change(f"{place}/{name}", old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def image_changes(recorded: Section, found: Section) -> Iterator[Change]:
    """Yield the changed images of lists that have not changed."""
    old, new = section(recorded, "images"), section(found, "images")
    for name in old.keys() & new.keys():
        if len(old[name]) != len(new[name]) or old[name] == new[name]:
            continue
        place = Path(found["source"], name)
        pairs = zip(split_digits(old[name]), split_digits(new[name]), strict=True)
        for image, (then, now) in zip(image_names(place), pairs, strict=True):
            if then != now:
                yield Change(str(place.parent / image), then, now)


def changes_on_disk(recorded: Section, task: TaskConfig, *, fresh: bool = False) -> list[Change]:
    """Compare the recorded files of a task's data with those there, without reading a row."""
    folder = task.folder or recorded.get("cache")
    if folder is None:  # this package makes the rows; they are compared when they are made
        return []
    root = Path(folder)
    names = [*section(recorded, "sha256")]
    if isinstance(task, ImageClassificationConfig) and task.own is not None:
        from goft_cli.data.own_images import images_there  # late, for it imports Pillow

        names += images_there(task, task.own)  # added ones included
    paths = {name: root / name for name in names}
    found = digests(paths.values(), fresh=fresh)
    there = {name: found[path] for name, path in paths.items() if path in found}
    now: dict[str, Any] = {"source": str(root), "sha256": there}
    if images := section(recorded, "images"):
        now["images"] = {
            name: image_digests(root / name, fresh=fresh) for name in images if name in there
        }
    return [*file_changes(recorded, now), *image_changes(recorded, now)]


def adapter_changes(manifest: Mapping[str, Any], run: RunFolder) -> list[Change]:
    """Compare the trained adapter's files with the record; an earlier version left none."""
    found = {"source": str(run.adapter), "sha256": adapter_sha256(run)}
    return file_changes(section(manifest, "adapter"), found)


def adapter_sha256(run: RunFolder) -> dict[str, str]:
    """Return the SHA-256 of the files that the trained adapter is read from, every byte read."""
    found = digests([run.adapter / name for name in ADAPTER_FILES], fresh=True)
    return {path.name: digest for path, digest in found.items()}


def describe_adapter(run: RunFolder) -> Section:
    """Return `source` (folder) and `sha256` by name of an adapter that another run starts from."""
    return {"source": str(run.adapter.resolve()), "sha256": adapter_sha256(run)}


def init_changes(manifest: Mapping[str, Any]) -> list[Change]:
    """Compare the adapter that a run started from with its record; most runs have none."""
    recorded = section(manifest, "init_adapter")
    if not recorded:
        return []
    return file_changes(recorded, describe_adapter(RunFolder(Path(recorded["source"]).parent)))


def check_sources(cfg: TrainConfig, remedy: str = TRAIN_ANEW) -> list[Change]:
    """Refuse to resume a run that has results if its base model or its data has changed.

    Return the recorded files that are gone: a finished run does not need them, and for another run
    loading reports them.
    """
    folder = RunFolder(Path(cfg.output_dir))
    there = stored_config(folder) if folder.has_results and folder.manifest.is_file() else None
    if cfg.overwrite or there is None or any(differing(there, cfg)):
        return []  # `open_run` refuses the folder of another run
    return missing_sources(cfg, folder, remedy)


def missing_sources(cfg: TrainConfig, folder: RunFolder, remedy: str) -> list[Change]:
    """Do what `check_sources` does in the folder of exactly this run, which has a manifest."""
    manifest = read_json(folder.manifest)
    changes = base_on_disk(section(manifest, "model"), cfg.model) + init_changes(manifest)
    for task, key in ((cfg.task, "data"), (cfg.benchmark, "benchmark")):
        changes += changes_on_disk(section(manifest, key), task) if task else []
    require_unchanged([one for one in changes if one.found], folder.path, remedy)
    return changes


def missing_if_finished(cfg: TrainConfig, remedy: str = TRAIN_ANEW) -> list[Change] | None:
    """Check the sources; return the missing ones if exactly this run is finished, not replaced.

    Return None if it is not. A finished run may be used although source files are missing.
    """
    if not is_finished(cfg):
        check_sources(cfg, remedy)
        return None
    folder = RunFolder(Path(cfg.output_dir))
    return missing_sources(cfg, folder, remedy) if folder.manifest.is_file() else []


def is_reusable(cfg: TrainConfig, remedy: str = TRAIN_ANEW) -> bool:
    """Tell whether exactly this run is finished and not to be replaced."""
    return missing_if_finished(cfg, remedy) is not None


def require_same_sources(before: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> None:
    """Refuse to resume a run on other files than its manifest names; nothing is written."""
    changes = base_changes(section(before, "model"), now["model"])
    for key in ("data", "benchmark"):
        if section(before, key):
            changes += data_changes(section(before, key), section(now, key), all_splits=True)
    changes += init_changes(before)
    require_unchanged(changes, run, TRAIN_ANEW)

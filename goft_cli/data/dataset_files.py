"""Finds the parquet files of the wanted splits of a dataset on the hub.

The dataset's card names them. If it does not, `datasets.load_dataset` loads the whole dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from goft_cli.config import DatasetConfig, ModelConfig
from goft_cli.data import model_files
from goft_cli.system import hub, snapshots
from goft_cli.system.errors import GoftError
from goft_cli.system.hub import Item, is_loading_error, reason_of
from goft_cli.system.snapshots import Files, listing

DATA_REMEDY = "pass task.data_dir=DIR with local files"
CARD = "README.md"
Patterns = dict[str, list[str]]
"""Patterns of file names by split."""


@dataclass(frozen=True)
class Found:
    """A folder of the cache, named by the commit, and its files by split."""

    folder: Path
    files: Patterns

    def paths(self, split: str) -> list[Path]:
        """Return the files of a split, in the order of its rows."""
        return [self.folder / name for name in self.files[split]]


def item_of(dataset: DatasetConfig, remedy: str = DATA_REMEDY) -> Item:
    """Return the repository of a dataset."""
    return Item("dataset", dataset.id, dataset.revision or "main", remedy, available)


def bring_splits(dataset: DatasetConfig, splits: Sequence[str]) -> Found | None:
    """Download only the parquet files of these splits; None if `datasets` must load them."""
    if hub.away("dataset"):
        return find_splits(dataset, splits)
    item = item_of(dataset)
    folder = snapshots.bring(item, Files.named([CARD]))
    patterns = split_patterns(folder / CARD, dataset.config)
    if patterns is None:
        return None
    require_splits(splits, list(patterns), named(dataset))
    pinned = replace(item, revision=folder.name)
    try:
        files = by_split(snapshots.contents(pinned), patterns, splits)
    except GoftError:
        here = find_splits(dataset, splits)
        if here is None:
            raise
        return here
    if files is None:
        return None
    wanted = [name for names in files.values() for name in names]
    folder = snapshots.bring(pinned, Files.named(wanted, announced=True))
    return Found(folder, files)


def split_names(dataset: DatasetConfig) -> list[str]:
    """Return the splits that a dataset's card names; none if it names none."""
    item, card = item_of(dataset), Files.named([CARD])
    away = hub.away("dataset") is not None
    folder = snapshots.find(item, card) if away else snapshots.bring(item, card)
    return list(split_patterns(folder / CARD, dataset.config) or {}) if folder else []


def find_splits(dataset: DatasetConfig, splits: Sequence[str]) -> Found | None:
    """Return the result of `bring_splits` if the cache has all files; does not ask the hub."""
    item = item_of(dataset)
    folder = snapshots.find(item, Files.named([CARD]))
    patterns = split_patterns(folder / CARD, dataset.config) if folder else None
    if folder is None or patterns is None or not {*splits} <= {*patterns}:
        return None
    wanted = [pattern for split in splits for pattern in patterns[split]]
    if snapshots.find(replace(item, revision=folder.name), Files(wanted)) is None:
        return None
    files = by_split(parquet_in(folder), patterns, splits)
    return None if files is None else Found(folder, files)


def by_split(names: Sequence[str], patterns: Patterns, splits: Sequence[str]) -> Patterns | None:
    """Return the files of each split; None if one has none, or if some are not parquet."""
    files = {split: matching(names, patterns[split]) for split in splits}
    flat = [name for found in files.values() for name in found]
    sound = all(files.values()) and all(name.endswith(".parquet") for name in flat)
    return files if sound else None


def parquet_in(folder: Path) -> list[str]:
    """Name the parquet files below a folder."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")]


def split_patterns(card: Path, config: str | None) -> Patterns | None:
    """Return the patterns of each split's files from a card; None if it is missing or has none.

    If no configuration is given, the only one or the default one is used.
    """
    entries = [entry for entry in configurations(card) if "data_dir" not in entry]
    if config is None and len(entries) > 1:
        entries = [
            entry
            for entry in entries
            if entry.get("default") is True or entry.get("config_name") == "default"
        ]
    elif config is not None:
        entries = [entry for entry in entries if entry.get("config_name") == config]
    files = entries[0].get("data_files") if len(entries) == 1 else None
    if not isinstance(files, list):
        return None
    patterns: Patterns = {}
    for entry in files:
        if not isinstance(entry, dict) or not {"split", "path"} <= {*entry}:
            return None
        path = entry["path"]
        patterns[str(entry["split"])] = [path] if isinstance(path, str) else list(map(str, path))
    return patterns


def configurations(card: Path) -> list[dict[str, Any]]:
    """Return the configurations of a dataset from its card; none if it has none."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    if not card.is_file():
        return []
    try:
        entries = (metadata_load(card) or {}).get("configs")
    except (ValueError, AttributeError, YAMLError):  # metadata_load's on a damaged card
        return []
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def label_names(folder: Path, dataset: DatasetConfig) -> dict[str, list[str]]:
    """Return the names of each label column's numbers in a card; parquet files may lack them."""
    from datasets.info import DatasetInfosDict

    from goft_cli.data.table import names_of

    try:
        infos = DatasetInfosDict.from_directory(str(folder))
    except Exception as error:  # the card is free text, so `datasets` may raise anything
        raise GoftError(
            f"{named(dataset)}: its card has a dataset_info that cannot be read ({error})",
            DATA_REMEDY,
        ) from error
    only = next(iter(infos.values())) if len(infos) == 1 and dataset.config is None else None
    info = infos.get(dataset.config or "default", only)
    features = info.features if info and info.features else {}
    return names_of(features)


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that fit a pattern, sorted; `*` stays in its folder."""
    return sorted(
        name
        for name in names
        for pattern in patterns
        if fnmatchcase(name, pattern) and ("**" in pattern or name.count("/") == pattern.count("/"))
    )


def require_splits(wanted: Sequence[str], found: Sequence[str], name: str) -> None:
    """Refuse splits that a dataset does not have."""
    missing = [split for split in wanted if split not in found]
    if missing:
        raise GoftError(
            f"{name} on the hub has no split {', '.join(missing)}; found {', '.join(found)}",
            "name others with task.train_split and task.eval_splits",
        )


def commit(dataset: DatasetConfig) -> str | None:
    """Return the commit that a dataset's revision stands for; None if the hub does not say."""
    item = item_of(dataset)
    try:
        snapshots.contents(item)
    except GoftError:
        return None
    return listing(item).commit


def named(dataset: DatasetConfig) -> str:
    """Return the name of a dataset in a manifest."""
    return f"{dataset.id} {dataset.config or ''}".strip()


def available() -> set[str]:
    """Name the datasets, with configurations, whose rows are in a cache of datasets or the hub."""
    found = {*hub.built()}
    for folder in snapshots.cached("dataset"):
        names = parquet_in(folder)
        for entry in configurations(folder / CARD):
            config = str(entry.get("config_name", "default"))
            patterns = split_patterns(folder / CARD, config) or {}
            if any(matching(names, some) for some in patterns.values()):
                found.add(f"{snapshots.name_of(folder)} {config}")
    return found


def check_model(model: ModelConfig) -> None:
    """Refuse a model that is not cached and cannot be loaded, or that has no weights."""
    if model_files.is_cached(model):
        return
    item = model_files.item_of(model)
    check_permission(item)
    model_files.require_weights(snapshots.contents(item), model.path)


def check_dataset(dataset: DatasetConfig, splits: Sequence[str], key: str) -> None:
    """Refuse a dataset that is not cached and cannot be loaded; `key` is that of its task."""
    if dataset_is_cached(dataset, splits):
        return
    item = item_of(dataset, DATA_REMEDY.replace("task", key, 1))
    check_permission(item)
    snapshots.contents(item)


def dataset_is_cached(dataset: DatasetConfig, splits: Sequence[str]) -> bool:
    """Tell whether the wanted rows are cached, as files of the hub or by `datasets`."""
    return is_built(dataset) or find_splits(dataset, splits) is not None


def is_built(dataset: DatasetConfig) -> bool:
    """Tell whether datasets has the rows in its own cache, from an earlier `load_dataset`."""
    return any(
        name == dataset.id and dataset.config in {None, config}
        for name, _, config in (item.partition(" ") for item in hub.built())
    )


def check_permission(item: Item) -> None:
    """Ask the hub whether the user must accept a licence; a mirror may not answer this."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError

    reason, cause = hub.away(item.kind), None
    if reason is None:
        try:
            HfApi(endpoint=constants.ENDPOINT).auth_check(item.name, repo_type=item.kind)
        except GatedRepoError as error:
            reason, cause = reason_of(error, item.kind, item.name), error
        except Exception as error:
            if not is_loading_error(error):
                raise
    if reason:
        raise hub.refusal(item, reason) from cause

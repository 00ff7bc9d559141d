"""Sources of rows: files of the user, the hub, or the demos that ship with the package."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, load_dataset
from PIL import Image

from goft_cli.config import DatasetConfig, TaskConfig
from goft_cli.data import dataset_files, model_files
from goft_cli.data.files import read_folder, read_shards
from goft_cli.data.formats import Layout
from goft_cli.data.own import in_splits, read_own
from goft_cli.data.table import Table, from_dataset
from goft_cli.system import hub, snapshots
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import PACKAGE
from goft_cli.system.screen import announce

FOLDER = PACKAGE / "assets" / "demo"
DIGITS = "demo:digits"
DIGIT_SPLITS = {"train": range(1000), "validation": range(1000, 1397), "test": range(1397, 1797)}
SPLITS = ("train", "validation", "test")
DEMOS = {
    "demo:acceptability": SPLITS,
    DIGITS: tuple(DIGIT_SPLITS),
    "demo:choices": ("dev", "test"),
    "demo:chat": (),
    "demo:instructions": SPLITS,
    "demo:qa": SPLITS,
}
"""Splits of each demo by its dataset id; a demo without splits has the same rows for each."""
LABEL_NAMES = "label_names"
"""Key under which `goft fetch` stores the label names of a dataset's card."""

Splits = tuple[dict[str, Table], dict[str, Any]]
"""Tables by split, and what identifies the data for the manifest."""


def read_data(
    config: TaskConfig,
    splits: Sequence[str],
    layout: Layout,
    convert: Callable[[Table], Table] | None = None,
) -> Splits:
    """Read only the named splits of a task: from the user's own files, or by `read_splits`.

    `convert` renames the columns of a user's own table to those of the published data.
    """
    dataset: DatasetConfig = getattr(config, "dataset", DatasetConfig())
    if not dataset.id and config.data_dir is None:
        raise GoftError(f"task {config.name}: it names no data", "pass data=FILE or data=FOLDER")
    if config.own is None:
        return read_splits(dataset, splits, config.data_dir, layout)
    if config.data_dir is not None:
        return read_own(config, config.own, splits, layout, convert)
    sha256: dict[str, str] = {}
    place: dict[str, Any] = {}

    def read(split: str) -> Table:
        tables, found = read_splits(dataset, [split], None, layout)
        sha256.update(found.get("sha256", {}))
        place.update(found)
        return convert(tables[split]) if convert else tables[split]

    tables, rows = in_splits(config, config.own, splits, split_names(dataset), read)
    return tables, {**place, **({"sha256": sha256} if sha256 else {}), **rows}


def split_names(dataset: DatasetConfig) -> list[str]:
    """Return the splits of a dataset on the hub, from its card or its files."""
    if dataset.is_generated:
        return list(DEMOS.get(dataset.id, ()))
    return dataset_files.split_names(dataset) or [str(name) for name in load_all(dataset)[0]]


def read_splits(
    dataset: DatasetConfig, splits: Sequence[str], data_dir: str | None, layout: Layout
) -> Splits:
    """Read only the named splits, from `data_dir` by `layout` if it is given, else `dataset`."""
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        tables, provenance = read_folder(folder, splits, layout)
        origin = model_files.origin(folder)  # empty unless `goft fetch` wrote it
        if not origin:
            return tables, provenance
        place = {"fetched_from": origin["source"], "revision": origin["revision"]}
        return _with_names(tables, origin.get(LABEL_NAMES, {})), provenance | place
    if dataset.is_generated:
        return demo_splits(dataset.id, splits)
    return _download(dataset, splits)


def _with_names(
    tables: Mapping[str, Table], names: Mapping[str, Sequence[str]]
) -> dict[str, Table]:
    """Replace the label names by those of a card or of `goft fetch`."""
    return {
        split: replace(table, label_names={**table.label_names, **names})
        for split, table in tables.items()
    }


def demo_splits(name: str, splits: Sequence[str]) -> Splits:
    """Read the named splits of a demo of this package."""
    rows = {split: read_demo(name, split) for split in splits}
    tables = {
        split: from_dataset(Dataset.from_list(made), f"{name}, {split}")
        for split, made in rows.items()
    }
    texts = {split: json.dumps(made, sort_keys=True) for split, made in rows.items()}
    sha256 = {split: hashlib.sha256(text.encode()).hexdigest() for split, text in texts.items()}
    return tables, {"source": name, "sha256": sha256}


def read_demo(name: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of one of `DEMOS`."""
    if name not in DEMOS:
        raise GoftError(f"{name}: no such demo", f"expected one of {', '.join(DEMOS)}")
    known, folder = DEMOS[name], name.removeprefix("demo:")
    if known and split not in known:
        raise GoftError(f"demo/{folder}: unknown split {split!r}, expected {', '.join(known)}")
    if name == DIGITS:
        labels, indices = _digits().target, DIGIT_SPLITS[split]
        return [{"image": f"{name}/{index}", "label": int(labels[index])} for index in indices]
    return read_rows(FOLDER / folder / f"{split if known else 'question'}.jsonl.gz")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows, each a line of JSON."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digit(name: str) -> Image.Image:
    """Return the grey image of a row of the digits, by its name."""
    pixels = _digits().images[int(name.rpartition("/")[2])]  # from 0 to 16
    return Image.fromarray((pixels * (255 / 16)).astype(np.uint8))


@cache
def _digits() -> Any:  # noqa: ANN401 - a Bunch, whose class does not say what it holds
    from sklearn.datasets import load_digits  # slow to import, and for these rows alone

    return load_digits()


def _download(dataset: DatasetConfig, splits: Sequence[str]) -> Splits:
    found = find_parquet(dataset, splits)
    if found is None:
        return _load(dataset, splits)
    name = dataset_files.named(dataset)
    tables: dict[str, Table] = {}
    sha256: dict[str, str] = {}
    for split in splits:
        table, read = read_shards(found.paths(split), Layout())
        tables[split] = replace(table, origin=f"{name}, {split}")
        sha256 |= {path.relative_to(found.folder).as_posix(): it for path, it in read.items()}
    tables = _with_names(tables, dataset_files.label_names(found.folder, dataset))
    place = {"revision": found.folder.name, "cache": str(found.folder)}
    return tables, {"source": name, **place, "sha256": sha256}


def _load(dataset: DatasetConfig, splits: Sequence[str]) -> Splits:
    """Load the rows with `datasets.load_dataset`, which has its own cache."""
    loaded, revision = load_all(dataset)
    name = dataset_files.named(dataset)
    dataset_files.require_splits(splits, [str(split) for split in loaded], name)
    tables = {split: from_dataset(loaded[split], f"{name}, {split}") for split in splits}
    provenance = {"source": name, "revision": revision}
    files = [Path(file["filename"]) for split in splits for file in loaded[split].cache_files]
    if files:
        found = {path.name: digest for path, digest in digests(files).items()}
        provenance |= {"cache": str(files[0].parent), "sha256": found}
    return tables, provenance


def find_parquet(dataset: DatasetConfig, splits: Sequence[str]) -> dataset_files.Found | None:
    """Return the parquet files of a hub dataset; None if `load_all` must load the rows."""
    try:
        return dataset_files.bring_splits(dataset, splits)
    except GoftError:
        if not dataset_files.dataset_is_cached(dataset, splits):
            raise
        return None


def load_all(dataset: DatasetConfig) -> tuple[DatasetDict, str | None]:
    """Load every split of a dataset, and return their commit."""
    with hub.require(dataset_files.item_of(dataset)):
        commit = dataset_files.commit(dataset)
        if commit is not None and not dataset_files.is_built(dataset):
            announce(dataset.id, 0)
        loaded = load_dataset(dataset.id, dataset.config, revision=commit or dataset.revision)
    rows = next(iter(loaded.values()))
    return loaded, commit or _revision(rows, dataset.revision)


def _revision(rows: Dataset, wanted: str | None) -> str | None:
    """Return the commit that the rows were built from: the cache folder that holds them."""
    files = rows.cache_files
    found = Path(files[0]["filename"]).parent.name if files else wanted
    if wanted and snapshots.COMMIT.fullmatch(wanted) and found != wanted:
        raise GoftError(
            f"task.dataset.revision={wanted}: the cache holds {found}",
            "connect to the hub, or drop the revision",
        )
    return found

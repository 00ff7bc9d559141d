"""Where raw rows come from: the project's own generators, a local folder, or the hub."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from goft_cli.config import DatasetConfig
from goft_cli.errors import GoftError
from goft_cli.preflight import DATA_REMEDY
from goft_cli.runs.digests import digests
from goft_cli.sharing import hub
from goft_cli.tasks.files import read_folder
from goft_cli.tasks.formats import Layout
from goft_cli.tasks.table import Table, from_dataset

GENERATORS = {
    "demo:acceptability": "goft_cli.tasks.demo.acceptability",
    "demo:digits": "goft_cli.tasks.demo.digits",
    "demo:choices": "goft_cli.tasks.demo.choices",
    "demo:chat": "goft_cli.tasks.demo.chat",
    "demo:instructions": "goft_cli.tasks.demo.instructions",
    "demo:qa": "goft_cli.tasks.demo.questions",
}
"""Modules with a `generate(split)` that returns rows, by the dataset id that stands for them."""

COMMIT = re.compile("[0-9a-f]{40}")

Splits = tuple[dict[str, Table], dict[str, Any]]


def read_splits(
    dataset: DatasetConfig, splits: Sequence[str], *, data_dir: str | None, layout: Layout
) -> Splits:
    """Read the named splits, from `data_dir` if there is one.

    Args:
        dataset: generator or hub dataset to read without a `data_dir`.
        splits: names to read; others that exist are not looked at.
        data_dir: folder with local files.
        layout: how to read local tables without a header row.

    Returns:
        Tables by split, and what identifies the data for the manifest.

    Raises:
        GoftError: the data is not there or cannot be read.
    """
    if data_dir is not None:
        return read_folder(Path(data_dir).expanduser(), splits, layout)
    if dataset.is_generated:
        return generate_splits(dataset.id, splits)
    return _download(dataset, splits)


def generate_splits(name: str, splits: Sequence[str]) -> Splits:
    """Let a generator of this package make the named splits.

    Raises:
        GoftError: there is no such generator, or it has no such split.
    """
    if name not in GENERATORS:
        raise GoftError(f"{name}: no such generator; there is {', '.join(GENERATORS)}")
    module = import_module(GENERATORS[name])
    rows = {split: module.generate(split) for split in splits}
    tables = {
        split: from_dataset(Dataset.from_list(made), f"{name}, {split}")
        for split, made in rows.items()
    }
    sha256 = {split: _sha256(made) for split, made in rows.items()}
    return tables, {"source": name, "sha256": sha256}


def _sha256(rows: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _download(dataset: DatasetConfig, splits: Sequence[str]) -> Splits:
    with hub.require("dataset", dataset.id, remedy=DATA_REMEDY):
        loaded = load_dataset(dataset.id, dataset.config, revision=dataset.revision)
    name = f"{dataset.id} {dataset.config or ''}".strip()
    found = [str(split) for split in loaded]
    missing = [split for split in splits if split not in found]
    if missing:
        raise GoftError(
            f"{name} on the hub has no split {', '.join(missing)}; found {', '.join(found)}; "
            "name others with task.train_split and task.eval_splits"
        )
    tables = {split: from_dataset(loaded[split], f"{name}, {split}") for split in splits}
    revision = _revision(loaded[splits[0]], dataset.revision)
    provenance = {"source": name, "revision": revision}
    files = [Path(file["filename"]) for split in splits for file in loaded[split].cache_files]
    if files:
        provenance |= {
            "cache": str(files[0].parent),
            "sha256": {path.name: digest for path, digest in digests(files).items()},
        }
    return tables, provenance


def _revision(rows: Dataset, wanted: str | None) -> str | None:
    """Return the commit that the rows were built from: the cache folder that holds them.

    Raises:
        GoftError: a commit was asked for and the cache, all there is offline, has another.
    """
    files = rows.cache_files
    found = Path(files[0]["filename"]).parent.name if files else wanted
    if wanted and COMMIT.fullmatch(wanted) and found != wanted:
        raise GoftError(
            f"task.dataset.revision={wanted}: the cache holds {found}; "
            "connect to the hub, or drop the revision"
        )
    return found

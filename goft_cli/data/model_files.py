"""The files of a model to read, in a folder of the user or from the hub.

Configuration and tokenizer are read first, and the weights after both have been checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from goft_cli.config import ModelConfig
from goft_cli.system import snapshots
from goft_cli.system.errors import GoftError
from goft_cli.system.hub import Item
from goft_cli.system.snapshots import Files

# If code of a model's own repository loads it by its hub id, transformers would ask a service to
# convert its weights, and store them under the commit of a pull request.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

MODEL_REMEDY = "pass model.path=DIR for a local copy"
ENDINGS = ("json", "txt", "model", "jinja", "spm", "codes", "tokenizer", "tiktoken")
"""Suffixes of configurations and of files of transformers' tokenizers and image processors."""
OTHER_JSON = ("*/*.json", "*.index.json", "trainer_state.json", "*_results.json")
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Files that are, or name, all the weights; the first one that exists is used."""
SAFE = WEIGHTS[:2]
FETCHED = "fetched.json"
"""File in a folder of `goft fetch` that names the source of its content."""


def item_of(model: ModelConfig) -> Item:
    """Return the repository that a hub id stands for."""
    return Item("model", model.path, model.revision or "main", MODEL_REMEDY, cached)


def bring_settings(model: ModelConfig) -> Path:
    """Download a model's files except its weights, and return their folder."""
    folder = snapshots.bring(item_of(model), settings(model))
    if not (folder / "config.json").is_file():
        raise GoftError(
            f"model.path={model.path}: no config.json on the hub",
            "choose a model in the format of transformers",
        )
    return folder


def settings(model: ModelConfig) -> Files:
    """Return the files that are read before the weights; code only with `trust_remote_code`."""
    code = ["*.py"] if model.trust_remote_code else []
    nested = [f"*/*.{ending}" for ending in ENDINGS if ending not in {"json", "jinja"}]
    return Files([*code, *(f"*.{ending}" for ending in ENDINGS)], [*OTHER_JSON, *nested])


def bring_weights(model: ModelConfig, folder: Path) -> str:
    """Download the weights into the folder of `bring_settings`; return their name in `WEIGHTS`."""
    item = replace(item_of(model), revision=folder.name)
    here = stored(folder) if are_complete(folder) else None
    if here in SAFE:
        return here
    try:
        form = require_weights(snapshots.contents(item), model.path)
    except GoftError:
        if here is None:
            raise
        return here
    snapshots.bring(item, Files.named([form], announced=not form.endswith(".json")))
    if form.endswith(".json"):
        snapshots.bring(item, Files.named(shards(folder / form, model.path), announced=True))
        require_shards(folder, form, model.path)
    return form


def require_weights(names: Sequence[str], path: str) -> str:
    """Return the first of `WEIGHTS` among the files of the model `path`."""
    form = next((form for form in WEIGHTS if form in names), None)
    if form is None:
        found = ", ".join(sorted(names)[:8])
        raise GoftError(
            f"model.path={path}: found {found}, but no weights",
            f"expected {WEIGHTS[0]} or {WEIGHTS[2]}",
        )
    return form


def stored(folder: Path) -> str | None:
    """Return the first of `WEIGHTS` that is in a folder."""
    return next((form for form in WEIGHTS if (folder / form).is_file()), None)


def shards(index: Path, path: str) -> list[str]:
    """Return the files that an index of weights names, for the model `path`."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GoftError(
            f"model.path={path}: {index.name} is not an index of weights ({error})", "copy it again"
        ) from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise GoftError(
                f"model.path={path}: {index.name} names {name!r}, which is not there",
                "copy it again",
            )
    return names


def require_shards(folder: Path, form: str, path: str) -> None:
    """Refuse an index of weights if one of its files is missing."""
    missing = missing_shards(folder, form, path)
    if missing:
        raise GoftError(f"model.path={path}: {form} names {missing[0]}, which is absent", "add it")


def missing_shards(folder: Path, form: str, path: str) -> list[str]:
    """Return the missing files of an index of weights; none if `form` is not an index."""
    names = shards(folder / form, path) if form.endswith(".json") else []
    return [name for name in names if not (folder / name).is_file()]


def are_complete(folder: Path) -> bool:
    """Tell whether a folder holds all the weights of a model."""
    form = stored(folder)
    try:
        return form is not None and not missing_shards(folder, form, folder.name)
    except GoftError:  # a damaged index
        return False


def cached() -> set[str]:
    """Name the models in the hub's cache that have their weights there."""
    return {snapshots.name_of(one) for one in snapshots.cached("model") if are_complete(one)}


def is_cached(model: ModelConfig) -> bool:
    """Tell whether the cache holds a hub's model with its weights, at the wanted revision."""
    folder = snapshots.find(item_of(model), settings(model))
    return folder is not None and (folder / "config.json").is_file() and are_complete(folder)


def origin(folder: Path) -> dict[str, Any]:
    """Return `source` and `revision` of a folder of `goft fetch`, for a manifest; else nothing."""
    try:
        found = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = isinstance(found, dict) and {"source", "revision"} <= {*found}
    return found if known else {}


def revision_of(folder: Path) -> str | None:
    """Return the commit of a model's folder; None if it is not known."""
    return origin(folder).get("revision") or snapshots.commit_of(folder)

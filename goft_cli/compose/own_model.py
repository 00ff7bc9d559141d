"""`model=auto`: values from a model's own `config.json` instead of a YAML of this package."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from goft_cli.config import Dtype, ModelConfig
from goft_cli.config.model import family, own_name, stated
from goft_cli.data.model_files import bring_settings, origin
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import model_location

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the output layer."""
UNNAMEABLE = re.compile(r"[^\w.=+,-]+")
"""Characters that run folder names do not have."""


def own_model(key: str, *, _parent_: DictConfig) -> Any:  # noqa: ANN401 - a YAML scalar or list
    """Return the value of a key of `model=auto`, from the folder or hub id in `model.path`."""
    if OmegaConf.is_missing(_parent_, "path"):
        raise GoftError(
            "model=auto: no model is named",
            "add model.path=DIR with a folder written by save_pretrained, or a hub id",
        )
    if key == "name":
        return name_of(_parent_.path)
    config = read_config(_parent_.path, _parent_.revision)
    kind = config["model_type"]
    if key == "architecture":
        return kind
    if key == "dtype":
        return dtype_of(config).value
    yaml = family(kind)
    if yaml is None:
        return {"target_modules": ALL_LINEAR, "head_modules": None}[key]
    return OmegaConf.create(stated(yaml, key))  # a plain list would not be resolved


def name_of(path: str) -> str:
    """Name a model by the last part of its hub id or folder; of a fetched one, of its source."""
    folder = Path(path).expanduser()
    found = own_name(origin(folder).get("source")) or own_name(os.path.normpath(folder.absolute()))
    return UNNAMEABLE.sub("_", found or path)


def read_config(path: str, revision: str | None) -> dict[str, Any]:
    """Read a model's `config.json`; that of the hub is downloaded if need be."""
    location = model_location(path)
    if isinstance(location, str):
        location = fetched_settings(path, revision)
    try:
        config = json.loads((location / "config.json").read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise GoftError(
            f"model.path={path}: its config.json is no JSON object ({error})", "copy it again"
        ) from None
    if not isinstance(kind, str):
        raise GoftError(
            f"model.path={path}: its config.json has no key model_type",
            "pass a folder written by save_pretrained",
        )
    return config


@cache
def fetched_settings(path: str, revision: str | None) -> Path:
    """Return the folder with a hub model's settings, fetched once in each process."""
    return bring_settings(ModelConfig(name=path, path=path, revision=revision))


def dtype_of(config: dict[str, Any]) -> Dtype:
    """Return the precision of the frozen weights: bfloat16 if they are stored so, else float32.

    float16 is not used: its largest number is 65,504, and an unscaled loss leaves its range.
    """
    kept = config.get("dtype") or config.get("torch_dtype")
    return Dtype.bfloat16 if kept == Dtype.bfloat16.value else Dtype.float32

"""What a model is called wherever a reader is told about a run."""

from __future__ import annotations

from pathlib import Path

from goft_cli.config import ModelConfig
from goft_cli.system.files import read_yaml
from goft_cli.system.locations import data_root


def real_name(model: ModelConfig) -> str:
    """Return the name of a model's YAML, or of the folder that was put in its place.

    A YAML of this package says which weights it is about; with another `model.path` its name
    would be that of another model.
    """
    known = {own_name(model.name), Path(model.name).name, own_name(shipped_path(model.name))}
    found = own_name(model.path)
    if shipped_path(model.name) is None or found in known:
        return model.name
    return f"{found} (settings of {model.name})"


def shipped_path(name: str) -> str | None:
    """Return where the weights of a model of this package are; None for a YAML of the user's."""
    file = data_root() / "configs" / "model" / f"{name}.yaml"
    if not file.is_file():
        return None
    content = read_yaml(file)
    if "path" in content:
        return content["path"]
    above = [entry for entry in content["defaults"] if str(entry).startswith("/model/")]
    found = [shipped_path(str(entry).removeprefix("/model/").partition("@")[0]) for entry in above]
    return next((path for path in found if path), None)


def own_name(path: str | None) -> str | None:
    """Return the last part of a path or hub id; of a snapshot in the hub's cache, the model's."""
    if path is None:
        return None
    place = Path(path.rpartition(":")[2])
    if place.parent.name == "snapshots":
        return place.parent.parent.name.rpartition("--")[2]
    return place.name

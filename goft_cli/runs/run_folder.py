"""A run is a folder, and the folder is a function of the configuration."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from goft_cli.config import SCHEMAS, TrainConfig
from goft_cli.errors import GoftError

# What does not change a number may differ between two starts of the same run.
NOT_IDENTITY = {"output_dir", "run_name", "overwrite", "tracker"}
MAX_DIFFERENCES = 6
# The safe loader either way: the one in C reads ten times as fast, and not every PyYAML has it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SECTIONS = ("model", "task", "adapter", "trainer", "launcher", "tracker")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, written first."""
        return self.path / "config.yaml"

    @property
    def adapter(self) -> Path:
        """The trained adapter in PEFT's format, with the tokenizer beside it."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """What training needs to resume."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The scores, written last: its presence means the run is finished."""
        return self.path / "metrics.json"

    @property
    def history(self) -> Path:
        """What training logged, update by update."""
        return self.path / "history.json"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, data and model that made the numbers."""
        return self.path / "manifest.json"

    @property
    def log(self) -> Path:
        """Everything said during the run, with times."""
        return self.path / "run.log"

    @property
    def plan(self) -> Path:
        """What `goft plan` expects of the run; beside the folder, which is the run's own."""
        return self.path.with_name(f"{self.path.name}.plan.json")

    @property
    def has_results(self) -> bool:
        """Whether training got far enough to leave something worth keeping."""
        return self.finished or self.adapter.exists() or any(self.checkpoints.glob("checkpoint-*"))

    @property
    def finished(self) -> bool:
        """Whether the run reached its end."""
        return self.metrics.is_file()


def open_run(cfg: TrainConfig) -> RunFolder:
    """Create the run folder, or find the same run in it.

    Raises:
        GoftError: the folder holds something else, or another configuration's run.
    """
    folder = RunFolder(Path(cfg.output_dir))
    there = read_yaml(folder.config) if folder.config.is_file() else None
    if there is None or not there.keys() >= set(SECTIONS):
        refuse_foreign(folder)
    elif cfg.overwrite:
        shutil.rmtree(folder.path)
    elif differences := list(differing(there, as_plain(cfg))):
        if folder.has_results:
            raise GoftError(describe_differences(folder, differences))
        shutil.rmtree(folder.path)  # refused before it trained: nothing there to keep
    if not folder.config.is_file() or (there != as_plain(cfg) and not folder.finished):
        write_text(folder.config, yaml.safe_dump(as_plain(cfg), sort_keys=False))
    return folder


def is_finished(cfg: TrainConfig) -> bool:
    """Tell whether exactly this run has reached its end, and is not to be replaced."""
    folder = RunFolder(Path(cfg.output_dir))
    if cfg.overwrite or not (folder.finished and folder.config.is_file()):
        return False
    return not any(differing(read_yaml(folder.config), as_plain(cfg)))


def refuse_foreign(folder: RunFolder) -> None:
    """Refuse a folder whose files are not a run's, whatever `overwrite` says.

    Raises:
        GoftError: the folder is not empty.
    """
    if folder.path.is_dir() and any(folder.path.iterdir()):
        raise GoftError(
            f"output_dir={folder.path}: the folder is not empty and holds no run of goft; "
            "choose another output_dir"
        )


def describe_differences(folder: RunFolder, differences: list[str]) -> str:
    """One sentence for a folder that another configuration owns."""
    shown = "; ".join(differences[:MAX_DIFFERENCES])
    more = len(differences) - MAX_DIFFERENCES
    return (
        f"{folder.path} holds a run of another configuration ({shown}"
        + (f"; and {more} more" if more > 0 else "")
        + "); choose another run_name=NAME, or overwrite=true to replace it"
    )


def read_config(path: Path) -> TrainConfig:
    """Read the configuration that a run was started with.

    Raises:
        GoftError: the file is damaged, or another version's.
    """
    plain = read_yaml(path)
    try:
        sections = {name: section(name, plain[name], path) for name in SECTIONS}
        if plain.get("benchmark") is not None:
            sections["benchmark"] = section("task", plain["benchmark"], path)
        rest = {key: value for key, value in plain.items() if key not in sections}
        return TrainConfig(**sections, **rest)
    except (KeyError, TypeError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise GoftError(f"{path}: not a configuration of goft train ({reason})") from error


def section(name: str, plain: object, path: Path) -> Any:  # noqa: ANN401
    """Read one group back into the dataclass whose fields it has."""
    present = plain.keys() if isinstance(plain, dict) else None
    for schema, kind in SCHEMAS.items():
        if schema.partition("/")[0] == name and {f.name for f in fields(kind)} == present:
            return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), plain))
    raise GoftError(
        f"{path}: its {name} section fits no schema of this version; "
        "use the goft-cli version named in manifest.json"
    )


def as_plain(cfg: TrainConfig) -> dict[str, Any]:
    """Return the configuration as dicts, lists and scalars, enums by name."""
    return yaml.safe_load(OmegaConf.to_yaml(OmegaConf.structured(cfg)))


def identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that determines the numbers."""
    return {key: value for key, value in plain.items() if key not in NOT_IDENTITY}


def config_sha256(cfg: TrainConfig) -> str:
    """Return a digest of what determines the numbers."""
    canonical = json.dumps(identity(as_plain(cfg)), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield `key: found there, not VALUE` for each value that differs."""
    old, new = flatten(identity(there)), flatten(identity(here))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} is {old.get(key)} there and {new.get(key)} here"


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return leaf values by dotted path."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration that an earlier run wrote.

    Raises:
        GoftError: the file is not a YAML mapping.
    """
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), Loader=YAML_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GoftError(
            f"{path}: not readable as YAML; delete the run folder and start again"
        ) from error
    if not isinstance(plain, dict):
        raise GoftError(f"{path}: found no configuration; delete the run folder and start again")
    return plain


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that an earlier run wrote.

    Raises:
        GoftError: the file is missing or not JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GoftError(f"{path}: no such file; is the run finished?") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GoftError(f"{path}: not readable as JSON; run the training again") from error
    if not isinstance(content, dict):
        raise GoftError(f"{path}: found no JSON object; run the training again")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, content.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside, then rename: a full disk or a kill leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)

"""The configuration of a run in its file: written, read by later versions, compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from enum import Enum
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from goft_cli.config import SCHEMAS, TrainConfig
from goft_cli.system import __version__
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_yaml, write_text

SECTIONS = ("model", "task", "adapter", "trainer", "launcher", "tracker")
WRITER = "goft_cli"
"""Key of `config.yaml`: the version that wrote it, and the schema of each section."""
FIRST_VERSION = "0.1.0"
"""The version that wrote configurations without that key."""
GROUPS = {name: name for name in SECTIONS} | {"benchmark": "task"}
"""The group of schemas of each section."""
TELLING = {"task": "family", "adapter": "peft_type"}
"""The key that tells the schemas of a group apart."""
STRENGTH = "strength"
NOT_IDENTITY = {WRITER, "output_dir", "run_name", "overwrite", "tracker", "verify"}
"""Keys that do not change results; they may differ between two starts of the same run."""
SOURCES = ("model.budgets", "task.recipe", "benchmark.recipe", "adapter.fallback")
"""Tables from which values are chosen; a new row in one does not make it another run."""


def write_config(path: Path, cfg: TrainConfig) -> None:
    """Write a configuration, with the version and the schema of each section."""
    content = {WRITER: {"version": __version__, "schemas": schemas_of(cfg)}, **as_plain(cfg)}
    write_text(path, yaml.safe_dump(content, sort_keys=False))


def schemas_of(cfg: TrainConfig) -> dict[str, str]:
    """Return the name of the schema of each section that a configuration has."""
    names = {kind: name for name, kind in SCHEMAS.items()}
    sections = {name: getattr(cfg, name) for name in GROUPS}
    return {name: names[type(node)] for name, node in sections.items() if node is not None}


def is_written(path: Path, cfg: TrainConfig) -> bool:
    """Tell whether a file has exactly the schemas and values that determine this run's results.

    If it has, `read_config` is not needed; if not, `read_config` may still find them equal.
    """
    plain = read_yaml(path)
    writer = plain.pop(WRITER, None)
    if not isinstance(writer, dict) or writer.get("schemas") != schemas_of(cfg):
        return False
    # compared as text: 1, 1.0 and True are equal, but only one of them may have the key's type
    return repr(identity(plain)) == repr(identity(without_enums(asdict(cfg))))


def without_enums(value: Any) -> Any:  # noqa: ANN401 - a mapping, a list or a scalar
    """Return a value in which enums are replaced by their names."""
    if isinstance(value, dict):
        return {key: without_enums(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_enums(inner) for inner in value]
    return value.name if isinstance(value, Enum) else value


def read_config(path: Path) -> TrainConfig:
    """Read the configuration that a run was started with, by this version or an earlier one.

    Keys that its version did not have take their defaults.
    """
    plain, version = read_yaml(path), FIRST_VERSION
    try:
        writer = plain.pop(WRITER, {"version": FIRST_VERSION, "schemas": {}})
        version, named = writer["version"], writer["schemas"]
        for section, name in named.items():
            if name not in SCHEMAS:
                raise of_another_version(path, f"schema {name} of {section}", version)
        return typed(plain, named)
    except ConfigKeyError as error:
        raise of_another_version(path, f"key {error.full_key}", version) from error
    except (KeyError, TypeError, AttributeError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise GoftError(f"{path}: not a configuration of goft train ({reason})") from error


def of_another_version(path: Path, what: str, version: str) -> GoftError:
    """Return the error for a key or schema that this version does not have."""
    return GoftError(
        f"{path}: goft-cli {__version__} does not know {what}",
        f"use goft-cli {version}, which wrote the file, or remove what was added by hand",
    )


def typed(plain: Mapping[str, Any], named: Mapping[str, str]) -> TrainConfig:
    """Return a configuration as dataclasses, its ranges checked and its gaps filled.

    `named` are the schemas by section, as far as the file names them.
    """
    root = OmegaConf.structured(TrainConfig)
    for section, group in GROUPS.items():
        if section in SECTIONS or plain.get(section) is not None:
            name = named.get(section) or fitting(group, plain[section])
            root[section] = OmegaConf.structured(SCHEMAS[name])
    return cast(TrainConfig, OmegaConf.to_object(OmegaConf.merge(root, plain)))


def fitting(group: str, section: Mapping[str, Any]) -> str:
    """Return the schema with the fewest unknown and missing keys for a section."""
    telling = TELLING.get(group, "")

    def misfit(name: str) -> tuple[bool, int, int]:
        defaults = {entry.name: entry.default for entry in fields(SCHEMAS[name])}
        other = section.get(telling) != defaults.get(telling)
        return other, len(section.keys() - defaults.keys()), len(defaults.keys() - section.keys())

    return min((name for name in SCHEMAS if name.partition("/")[0] == group), key=misfit)


def as_plain(cfg: TrainConfig) -> dict[str, Any]:
    """Return the configuration as dicts, lists and scalars, enums by name."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(cfg), enum_to_str=True))


def identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that determines the results.

    The strength of the adapter is part of it only where it is not 1: it is 1 in all runs of
    versions that did not have the key.
    """
    kept = {key: value for key, value in plain.items() if key not in NOT_IDENTITY}
    if kept["adapter"].get(STRENGTH) == 1:
        kept["adapter"] = {key: one for key, one in kept["adapter"].items() if key != STRENGTH}
    return kept


def config_sha256(cfg: TrainConfig) -> str:
    """Return a digest of the values that determine the results, in the keys of this version."""
    return digest_of(as_plain(cfg))


def written_sha256(path: Path) -> str | None:
    """Return that digest of the values in a file; None if another version wrote it."""
    plain = read_yaml(path)
    writer = plain.pop(WRITER, None)
    own = isinstance(writer, dict) and writer.get("version") == __version__
    return digest_of(plain) if own else None


def digest_of(plain: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the values that determine the results."""
    canonical = json.dumps(identity(plain), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def settings(cfg: TrainConfig) -> dict[str, Any]:
    """Return the values that determine the results, by dotted key."""
    sources = tuple(f"{source}." for source in SOURCES)
    plain = {key: value for key, value in asdict(cfg).items() if key not in NOT_IDENTITY}
    return {
        key: value.name if isinstance(value, Enum) else value
        for key, value in flatten(plain).items()
        if not f"{key}.".startswith(sources)
    }


def differing(there: TrainConfig, here: TrainConfig) -> Iterator[str]:
    """Yield `key is VALUE there and VALUE here` for each value that differs."""
    old, new = settings(there), settings(here)
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

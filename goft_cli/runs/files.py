"""Files of a run: written whole or not at all, and read with a sentence where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from goft_cli.errors import GoftError

# The safe loader either way: the one in C reads ten times as fast, and not every PyYAML has it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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

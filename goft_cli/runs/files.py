"""Files of a run: written whole or not at all, and read with a sentence where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from goft_cli.errors import GoftError
from goft_cli.kinds import refuse_no_file
from goft_cli.yaml_files import YAML_LOADER, read_checked

START_AGAIN = "delete the run folder and start again"


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration that an earlier run wrote."""
    text = read_checked(path, START_AGAIN)
    try:
        plain = yaml.load(text, Loader=YAML_LOADER)
    except (yaml.YAMLError, ValueError) as error:  # such as a date in a thirteenth month
        raise GoftError(f"{path}: not readable as YAML", START_AGAIN) from error
    if not isinstance(plain, dict):
        raise GoftError(f"{path}: found no configuration", START_AGAIN)
    return plain


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that an earlier run wrote."""
    refuse_no_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GoftError(f"{path}: no such file", "is the run finished?") from error
    except (ValueError, RecursionError) as error:
        raise GoftError(f"{path}: not readable as JSON", "run the training again") from error
    if not isinstance(content, dict):
        raise GoftError(f"{path}: found no JSON object", "run the training again")
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

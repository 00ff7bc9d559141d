"""`goft VERB --help`: the groups and their choices, then every key with its value and its meaning.

Hydra's own page copies the whole store of configurations once for each of its groups, which takes
seconds.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

import yaml
from omegaconf import DictConfig, EnumNode, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from goft_cli.compose.suggest import CommandLine
from goft_cli.config.meanings import meanings
from goft_cli.system.errors import GoftError

WIDTH = 100
COLUMN = 46
"""Column of the meanings; a longer `key=value` has its meaning on the next line."""


def help_page(line: CommandLine, summary: str) -> str:
    """Return what `goft VERB --help` prints, the overrides beside it included."""
    groups = [f"{name}: {', '.join(names)}" for name, names in line.groups().items()]
    return "\n".join(
        [
            f"goft {line.verb}: {summary}\n\ngroups (group=choice)\n",
            *(indented(group) for group in groups or [f"none: {line.verb} has only keys"]),
            "\nkeys (key=value)\n",
            *key_lines(line.compose(line.overrides)),
            "\nkey=value overrides a key, -m key=a,b sweeps over values,",
            "--cfg job --resolve prints the configuration and stops\n",
        ]
    )


def key_lines(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield `key=value` and the meaning of every key, section by section."""
    known = meanings(OmegaConf.get_type(cfg) or dict)
    for key in map(str, cfg):
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node)):
            yield from key_lines(node, f"{prefix}{key}.")
        else:
            meaning = f"{known.get(key, '')} {options(node)}".strip()
            yield entry(f"{prefix}{key}={shown(cfg, key)}", meaning)


def options(node: object) -> str:
    """Return the values that a key of an enumeration takes."""
    return f"One of {', '.join(node.enum_type.__members__)}." if isinstance(node, EnumNode) else ""


def shown(cfg: DictConfig, key: str) -> str:
    """Return a value as a user types it; nothing for a missing one."""
    try:
        value = cfg[key]
    except (OmegaConfBaseException, GoftError):
        return ""
    plain: Any = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    plain = plain.name if isinstance(plain, Enum) else plain
    text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf).partition("\n...")[0]
    return text.strip()


def entry(assignment: str, meaning: str) -> str:
    """Put a key with its value beside its meaning."""
    lines = textwrap.wrap(meaning, WIDTH - COLUMN)
    head = f"  {assignment}"
    first = [head] if len(head) >= COLUMN or not lines else [f"{head:<{COLUMN}}{lines.pop(0)}"]
    return "\n".join([*first, *(" " * COLUMN + text for text in lines)])


def indented(text: str) -> str:
    """Break a line at blanks, and indent it."""
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")

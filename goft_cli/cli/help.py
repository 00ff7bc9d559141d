"""`goft VERB --help`: the groups and their choices, then every key with its value and its meaning.

Hydra's own page copies the whole store of configurations once for each of its groups, which takes
seconds.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import yaml
from omegaconf import DictConfig, EnumNode, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from goft_cli.compose.suggest import CommandLine
from goft_cli.compose.words import BENCHMARK, SHORT
from goft_cli.config import SCHEMAS
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
            *short_forms(line),
            "\nkey=value overrides a key, -m key=a,b sweeps over values,",
            "--cfg job --resolve prints the configuration and stops\n",
        ]
    )


def short_forms(line: CommandLine) -> Iterator[str]:
    """Yield the short forms of a verb's keys: `data` for `task.data_dir`."""
    forms = {**(SHORT if "task" in line.groups() else {}), **BENCHMARK.get(line.verb, {})}
    own = {entry.name for entry in fields(SCHEMAS[line.verb])}
    pairs = [f"{short} for {key}" for short, key in forms.items() if short not in own]
    if pairs:
        yield "\nshort forms of keys\n"
        yield indented(", ".join(pairs))


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
    lines = textwrap.wrap(meaning, WIDTH - COLUMN, break_on_hyphens=False)
    head = f"  {assignment}"
    first = [head] if len(head) >= COLUMN or not lines else [f"{head:<{COLUMN}}{lines.pop(0)}"]
    return "\n".join([*first, *(" " * COLUMN + text for text in lines)])


def indented(text: str) -> str:
    """Break a line at blanks, and indent it."""
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
    return wrapper.fill(text)

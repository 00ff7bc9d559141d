"""YAML that other people wrote: what no loader should be given is named by its file and line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml
from yaml.reader import Reader

from goft_cli.errors import GoftError
from goft_cli.kinds import refuse_no_file

# The safe loader either way: the one in C reads ten times as fast, and not every PyYAML has it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 64
"""Loaders call themselves for each level, and Python ends that at some hundreds."""
PYTHON_TAG = "tag:yaml.org,2002:python/"


def read_checked(path: Path, remedy: str = "correct the line") -> str:
    """Return the text of a YAML file that a loader can be given.

    Args:
        path: of the file.
        remedy: what to do where it cannot.

    Raises:
        OSError: it cannot be opened.
    """
    refuse_no_file(path)
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = line, f"byte 0x{content[error.start]:02x} is not UTF-8"
    else:
        found = find_fault(text)
        if found is None:
            return text
    line, reason = found
    raise GoftError(f"{path}, line {line}: not readable as YAML ({reason})", remedy)


def find_fault(text: str) -> tuple[int, str] | None:
    """Return the line and the reason why a YAML text is not to be loaded, if there is one."""
    strange = Reader.NON_PRINTABLE.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        return line, f"the character U+{ord(strange[0]):04X} is not allowed"
    try:
        return find_trap(yaml.parse(text, Loader=YAML_LOADER))
    except yaml.MarkedYAMLError as error:
        return line_of(error), str(error.problem)


def find_trap(events: Iterable[yaml.Event]) -> tuple[int, str] | None:
    """Return the line and the kind of what is YAML, and would break or misuse a loader.

    Raises:
        yaml.MarkedYAMLError: it is no YAML.
    """
    within: list[str | None] = []
    named: set[str | None] = set()
    for event in events:
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None) or ""
        if tag.startswith(PYTHON_TAG):
            return line, f"!!{tag.rpartition(',2002:')[2]} would make a Python object"
        if isinstance(event, yaml.AliasEvent) and event.anchor in within:
            return line, f"*{event.anchor} is within what it stands for"
        if isinstance(event, yaml.AliasEvent) and event.anchor not in named:
            return line, f"*{event.anchor} stands for nothing"
        named.add(getattr(event, "anchor", None))
        if isinstance(event, yaml.CollectionStartEvent):
            within.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            within.pop()
        if len(within) > MAX_DEPTH:
            return line, f"more than {MAX_DEPTH} levels"
    return None


def line_of(error: yaml.MarkedYAMLError) -> int:
    """Return the line at which a loader gave up."""
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1

"""JSON Schemas of the YAML files, made of the dataclasses, with which an editor checks them.

They state names, types, choices, defaults and meanings. Ranges are checked by goft alone.
https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import MISSING, OmegaConf

from goft_cli.compose.keys import INHERITED, read_keys
from goft_cli.compose.store import verb_groups
from goft_cli.config import SCHEMAS, ReproductionConfig
from goft_cli.config.meanings import meanings
from goft_cli.system import __version__
from goft_cli.system.locations import data_root

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
COMPUTED: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
"""A value that is computed of others (`${...}`), or still to be given (`???`)."""
SCALARS: dict[object, Schema] = {
    str: {"type": ["string", "number"]},  # a number is taken as its text
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}
ITEMS: Schema = {"type": ["string", "number", "boolean", "null"]}
"""In a list of texts, words such as `no` and `null` stay words."""
DEFAULTS: Schema = {
    "description": "What the file is composed of: a schema or another file, and choices of groups.",
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "maxProperties": 1,
                "additionalProperties": {"type": ["string", "null", "array"]},
            },
        ]
    },
}
HYDRA: Schema = {"description": "Hydra's own settings, such as those of a sweep.", "type": "object"}


def json_schemas() -> dict[str, Schema]:
    """Return the schemas by name: of each verb's keys, of each group's files, of a recipe."""
    groups = verb_groups("train")
    verbs = [name for name in SCHEMAS if "/" not in name and name not in groups]
    beside = {"defaults": DEFAULTS, "hydra": HYDRA}
    found = {name: document(f"goft {name}", SCHEMAS[name], beside) for name in verbs}
    found |= {group: group_document(group) for group in groups}
    return found | {"recipe": document("recipe of goft reproduce", ReproductionConfig)}


def document(title: str, kind: type, beside: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of a file with the keys of a dataclass, and those `beside` them."""
    used: dict[str, Schema] = {}
    root = section(kind, used, beside or {})
    return {**head(title), **root, "$defs": used}


def group_document(group: str) -> Schema:
    """Return the schema of a group's files: the file that one inherits from decides its keys."""
    names = [name for name, kind in SCHEMAS.items() if issubclass(kind, group_kind(group))]
    if len(names) == 1:
        return document(f"{group} of goft", SCHEMAS[names[0]], {"defaults": DEFAULTS})
    used: dict[str, Schema] = {}
    files = {name: f"{SCHEMAS[name].__name__}File" for name in names}
    for name, file in files.items():
        used[file] = section(SCHEMAS[name], used, {"defaults": DEFAULTS})
    bases = {name: list(files_on(name)) for name in names}
    rules = [when(bases[name], reference(files[name])) for name in names]
    any_of = {"anyOf": [reference(file) for file in files.values()]}
    known = [base for names_of_one in bases.values() for base in names_of_one]
    rules.append({**when(known, {}), "else": any_of})
    return {**head(f"{group} of goft"), "type": "object", "allOf": rules, "$defs": used}


def head(title: str) -> Schema:
    """Return what every schema begins with."""
    return {"$schema": DRAFT, "$comment": f"goft schema, goft-cli {__version__}", "title": title}


def group_kind(group: str) -> type:
    """Return the dataclass that all choices of a group have in common."""
    hint = get_type_hints(SCHEMAS["train"])[group]
    return next(one for one in (hint, *get_args(hint)) if isinstance(one, type))


def when(bases: Sequence[str], then: Schema) -> Schema:
    """Return a rule for files that inherit from one of `bases`."""
    inherits = {"defaults": {"contains": {"enum": list(bases)}}}
    return {"if": {"properties": inherits, "required": ["defaults"]}, "then": then}


def files_on(name: str) -> Iterator[str]:
    """Yield how a file's `defaults` name a schema, and each shipped file that is built on it."""
    yield f"/schema/{name}@_here_"
    group = name.partition("/")[0]
    root = data_root() / "configs" / group
    for file in sorted(root.rglob("*.yaml")):
        choice = file.relative_to(root).with_suffix("").as_posix()
        if schema_of(group, choice) == name:
            yield f"/{group}/{choice}@_here_"


@cache
def schema_of(group: str, choice: str) -> str | None:
    """Return the schema that a shipped file inherits from, perhaps by another file."""
    content = read_keys(data_root() / "configs" / group / f"{choice}.yaml")
    for entry in content.get("defaults", []):
        if found := INHERITED.fullmatch(str(entry)):
            above, name = found.groups()
            return name if above == "schema" else schema_of(above, name)
    return None


def section(kind: type, used: dict[str, Schema], beside: Mapping[str, Schema]) -> Schema:
    """Return the schema of a dataclass; those of the sections within it are put into `used`."""
    hints, known = get_type_hints(kind), meanings(kind)
    defaults = defaults_of(kind)
    keys = dict(beside)
    for entry in fields(kind):
        values = list(values_of(hints[entry.name], used))
        keys[entry.name] = key = {"description": known.get(entry.name, "")}
        key |= {} if {} in values else {"anyOf": [*values, COMPUTED]}
        default = defaults[entry.name]
        if default != MISSING and not isinstance(default, dict):
            key["default"] = default
    return {
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "type": "object",
        "properties": keys,
        "additionalProperties": False,
    }


@cache
def defaults_of(kind: type) -> Any:  # noqa: ANN401 - what OmegaConf returns
    """Return the values that a dataclass has by default, enumerations by name."""
    return OmegaConf.to_container(OmegaConf.structured(kind), enum_to_str=True)


def values_of(hint: Any, used: dict[str, Schema]) -> Iterator[Schema]:  # noqa: ANN401 - any annotation
    """Yield a schema for each form that a value of an annotation has; an empty one for any."""
    parts = get_args(hint)
    if hint is Any:
        yield {}
    elif NoneType in parts:
        for part in parts:
            yield from [{"type": "null"}] if part is NoneType else values_of(part, used)
    elif get_origin(hint) is list:
        items = [ITEMS] if parts[0] is str else [*values_of(parts[0], used), COMPUTED]
        yield {"type": "array", "items": {"anyOf": items}}
    elif get_origin(hint) is dict:
        values = list(values_of(parts[1], used))
        of_any = {"type": "object"}
        yield (
            of_any
            if {} in values
            else of_any | {"additionalProperties": {"anyOf": [*values, COMPUTED]}}
        )
    elif is_dataclass(hint):
        yield from sections_of(hint, used)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        values = [one.value for one in hint.__members__.values()]
        numbers = [value for value in values if isinstance(value, int)]  # are taken, too
        yield {"enum": [*hint.__members__, *numbers]}
    else:
        yield SCALARS[hint]


def sections_of(kind: Any, used: dict[str, Schema]) -> Iterator[Schema]:  # noqa: ANN401 - a dataclass
    """Yield a reference to each dataclass that a section may be, such as each family of tasks."""
    for one in [known for known in SCHEMAS.values() if issubclass(known, kind)] or [kind]:
        if one.__name__ not in used:
            used[one.__name__] = {}  # it may be part of itself
            used[one.__name__] = section(one, used, {})
        yield reference(one.__name__)


def reference(name: str) -> Schema:
    """Return a reference to one of the schema's own definitions."""
    return {"$ref": f"#/$defs/{name}"}

"""The words that a user may type after a verb: groups, choices, and their keys and values.

All of it is read from the schemas and the YAML files. Composing would give the same keys, but takes
a fifth of a second, which is too long to say that a word is mistyped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import EnumMeta
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, Node
from omegaconf.errors import OmegaConfBaseException, ValidationError

from goft_cli.compose.store import reads_folder, verb_groups
from goft_cli.compose.words import did_you_mean
from goft_cli.config import SCHEMAS
from goft_cli.system.errors import GoftError
from goft_cli.system.files import YAML_LOADER, read_checked
from goft_cli.system.locations import data_root

PRESETS = "+sweep"
"""A group that only a user adds; no configuration has it."""
INHERITED = re.compile(r"/(\w+)/([^@]+)@_here_")
"""How our files inherit: from a schema, or from another file of a group."""
OVERRIDE = re.compile(r"override /(\w+)(@[\w.]+)?")
"""How our files choose another group's file."""
SCHEMA_PATHS = [f"schema/{name}" for name in SCHEMAS]
TYPE_WORDS: dict[object, str] = {float: "a number", int: "a whole number", bool: "true or false"}
Shape = dict[str, Any]
"""A configuration without its values: a section is a Shape, everything else None."""


class Unset(Shape):
    """A section that is null, and has its keys only where a file sets one of them."""


class UnreadableError(Exception):
    """A YAML file composes in a way that only Hydra can follow."""


def verb_choices(verb: str, config_dirs: tuple[Path, ...] = ()) -> dict[str, list[str]]:
    """Return the choices of every group of a verb, those of the user's own folders included.

    A group in such a folder that the verb does not compose is left out.
    """
    shipped = group_choices((data_root() / "configs",))
    groups = {group: shipped[group] for group in shipped if group in verb_groups(verb)}
    if reads_folder(verb):
        groups[PRESETS] = shipped[PRESETS.lstrip("+")]
    for group, names in group_choices(config_dirs).items():
        known = f"+{group}" if f"+{group}" in groups else group
        if known in groups:
            groups[known] = sorted({*groups[known], *names})
    return groups


def is_choice(word: str, groups: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether `word` is a valid GROUP=CHOICE."""
    group, _, choice = word.partition("=")
    return choice in groups.get(group, [])


def group_choices(roots: tuple[Path, ...]) -> dict[str, list[str]]:
    """Return the choices of each group in these folders of YAML files.

    A file whose name starts with an underscore is only inherited by others, not a choice.
    """
    found: dict[str, set[str]] = {}
    for root in roots:
        for file in root.rglob("*/[!_]*.yaml"):
            group, *rest = file.relative_to(root).with_suffix("").parts
            found.setdefault(group, set()).add("/".join(rest))
    return {group: sorted(found[group]) for group in sorted(found)}


def known_keys(verb: str, words: Sequence[str], config_dirs: tuple[Path, ...]) -> list[str]:
    """Return the dotted path of every key and section that a verb has with valid choices.

    Raises:
        UnreadableError: a file composes in a way that only Hydra can follow.
    """
    roots = (*config_dirs, data_root() / "configs")
    typed = dict(word.split("=", 1) for word in words)
    chosen = default_choices(verb) | overridden(typed, roots) | typed
    shape = schema_shape(SCHEMAS[verb])
    for group, choice in chosen.items():
        if group not in verb_groups(verb):
            raise UnreadableError(group)
        shape[group] = None if choice is None else choice_shape(group, choice, roots)
    return list(leaves(shape))


def overridden(chosen: Mapping[str, str], roots: Sequence[Path]) -> dict[str, str]:
    """Return what the chosen files choose of other groups, as `override /model@...: NAME`."""
    found: dict[str, str] = {}
    for group, choice in chosen.items():
        for file in [root / group / f"{choice}.yaml" for root in roots]:
            entries = read_keys(file).get("defaults", []) if file.is_file() else []
            for key, name in (
                pair for one in entries if isinstance(one, dict) for pair in one.items()
            ):
                found[key.removeprefix("override /").partition("@")[0]] = name
    return found


def default_choices(verb: str) -> dict[str, str | None]:
    """Return what a verb's own file, and the files that it names, choose of each group."""
    found: dict[str, str | None] = {}
    for entry in read_keys(data_root() / "configs" / f"{verb}.yaml").get("defaults", []):
        if isinstance(entry, dict):
            found |= {group.lstrip("/"): choice for group, choice in entry.items()}
        elif (data_root() / "configs" / f"{entry}.yaml").is_file():
            found |= default_choices(entry)
    return {group: choice for group, choice in found.items() if not group.startswith("override")}


def choice_shape(
    group: str, choice: str, roots: Sequence[Path], heirs: tuple[Path, ...] = ()
) -> Shape | None:
    """Return the sections and keys of one choice, what it inherits included, for its heirs."""
    file = next(path for path in (r / group / f"{choice}.yaml" for r in roots) if path.is_file())
    if file in heirs:
        raise GoftError(f"{file}: by its defaults it inherits from itself", "remove the entry")
    content = read_keys(file)
    shape: Shape = {}
    for entry in checked_entries(file, roots):
        overrides = isinstance(entry, dict) and str(next(iter(entry))).startswith("override ")
        if entry != "_self_" and not overrides:
            merge(shape, inherited_shape(entry, roots, (*heirs, file)))
    content.pop("defaults", None)
    if group in content:  # the file sets the whole section, as benchmark=none does
        return content[group]
    return merge(shape, content)


def checked_entries(file: Path, roots: Sequence[Path]) -> list[Any]:
    """Return a file's defaults list; refuse an entry of no known form, or that names no file."""
    entries = read_keys(file).get("defaults", [])
    if not isinstance(entries, list):
        raise GoftError(f"{file}: expected a list in defaults", "write each entry as a line - NAME")
    for entry in entries:
        if not entry or not isinstance(entry, str | dict):
            found = "an empty entry" if not entry else f"the entry {entry}"
            raise GoftError(f"{file}: defaults has {found}", "expected /GROUP/NAME@_here_")
        path = path_named(entry)
        if (
            path is not None
            and path not in SCHEMA_PATHS
            and not any((root / f"{path}.yaml").is_file() for root in roots)
        ):
            remedy = did_you_mean(path, [*SCHEMA_PATHS, *files_below(roots)], prefix="/")
            raise GoftError(f"{file}: defaults names /{path}, and there is no such file", remedy)
    return entries


def path_named(entry: str | dict[str, object]) -> str | None:
    """Return the path that an entry inherits or chooses; None if only Hydra can follow it."""
    if isinstance(entry, str):
        found = INHERITED.fullmatch(entry)
        return f"{found[1]}/{found[2]}" if found else None
    key, name = next(iter(entry.items()))
    found = OVERRIDE.fullmatch(str(key))
    return f"{found[1]}/{name}" if found and name is not None else None


def files_below(roots: Sequence[Path]) -> Iterator[str]:
    """Yield the path of every file of a group, those that are only inherited included."""
    for root in roots:
        for file in root.rglob("*/*.yaml"):
            yield file.relative_to(root).with_suffix("").as_posix()


def inherited_shape(entry: object, roots: Sequence[Path], heirs: tuple[Path, ...]) -> Shape:
    """Return the shape of one entry of a defaults list."""
    found = INHERITED.fullmatch(str(entry))
    if found is None:
        raise UnreadableError(entry)
    group, name = found.groups()
    if group == "schema":
        return schema_shape(SCHEMAS[name])
    return choice_shape(group, name, roots, heirs) or {}


def schema_shape(kind: type) -> Shape:
    """Return the sections and keys of a dataclass, those of its default mappings included."""
    hints = get_type_hints(kind)
    return {entry.name: field_shape(hints[entry.name], entry) for entry in fields(kind)}


def field_shape(hint: Any, entry: Field[Any]) -> Shape | None:  # noqa: ANN401 - any annotation
    """Return the shape of one field."""
    if is_dataclass(hint):
        return schema_shape(cast("type", hint))
    optional = [option for option in get_args(hint) if is_dataclass(option)]
    if optional and type(None) in get_args(hint):
        return Unset(schema_shape(cast("type", optional[0])))
    default = None if entry.default_factory is MISSING else entry.default_factory()
    return merge({}, default) if isinstance(default, Mapping) else None


def merge(shape: Shape, content: Mapping[str, Any]) -> Shape:
    """Add the sections and keys of `content` to a shape, in place."""
    for key, value in content.items():
        if isinstance(value, Mapping) and not isinstance(value, Unset):
            shape[key] = merge(dict(shape.get(key) or {}), value)
        else:
            shape.setdefault(key, value if isinstance(value, Unset) else None)
    return shape


def leaves(shape: Shape, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key and section."""
    for key, inner in shape.items():
        yield f"{prefix}{key}"
        if isinstance(inner, dict) and not isinstance(inner, Unset):
            yield from leaves(inner, f"{prefix}{key}.")


def read_keys(file: Path) -> dict[str, Any]:
    """Read a YAML file without interpolations or Hydra's header."""
    try:
        content = yaml.load(read_checked(file), Loader=YAML_LOADER)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise UnreadableError(file) from error
    if not isinstance(content, dict | None):
        raise GoftError(f"{file}: the file has no keys", "expected lines of KEY: VALUE")
    if content is None:
        raise UnreadableError(file)
    return content


def explain_form(
    error: Exception, overrides: Sequence[str], keys: Collection[str], *, multirun: bool
) -> GoftError | None:
    """Return the error for values without a sweep, or for a plus before a key; None if neither."""
    # Hydra raises one class for these and others, which differ only in the message
    of_hydra = isinstance(error, ConfigCompositionException)
    if not of_hydra or isinstance(cause_of(error), OmegaConfBaseException):
        return None
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        word, key = str(override.input_line), override.key_or_group
        if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not multirun:
            name, _, values = word.partition("=")
            remedy = f"a list is {name}=[{values}]"
            return GoftError(f"{word}: a sweep over several values needs -m", remedy)
        # Hydra takes ++key for a key that is there, too
        is_plain_add = override.is_add() and not override.is_force_add()
        if is_plain_add and (key in keys or key.startswith("hydra.")):
            return GoftError(f"+{key}: {key} is already a key", "write it without the +")
    return None


def explain_value(error: Exception, overrides: Sequence[str]) -> GoftError:
    """Return the error for a value that its key's type does not allow."""
    cause = cause_of(error)
    key = getattr(cause, "full_key", None) or ""
    typed = next((word for word in overrides if key and word.startswith(f"{key}=")), key or "value")
    value = getattr(cause, "value", None)
    kind = kind_of(cause) if isinstance(cause, ValidationError) and value is not None else None
    if kind in TYPE_WORDS:
        return GoftError(f"{typed}: expected {TYPE_WORDS[kind]}")
    if isinstance(kind, EnumMeta):
        return GoftError(f"{typed}: {did_you_mean(str(value), kind.__members__, prefix=f'{key}=')}")
    if get_origin(kind) is list:
        return GoftError(f"{typed}: expected a list, such as {key}=[{typed.partition('=')[2]}]")
    return GoftError(f"{typed}: {str(cause).splitlines()[0].partition('. value: ')[0]}")


def cause_of(error: Exception) -> BaseException:
    """Return OmegaConf's error inside Hydra's, if there is one."""
    return error.__cause__ or error.__context__ or error


def kind_of(refused: ValidationError) -> Any:  # noqa: ANN401 - a class, or a form such as list[str]
    """Return the type of the key, or of the member of a list or mapping, whose value is refused."""
    parent: Any = refused.parent_node
    node = parent._get_node(refused.key) if isinstance(parent, DictConfig) else None
    if isinstance(node, Node):
        return node._metadata.ref_type
    return getattr(getattr(parent, "_metadata", None), "element_type", None)

"""What Hydra composes from: the schemas, the verbs' files and the config groups.

Hydra's own `ConfigStore.store` builds each configuration at once, which takes milliseconds. A
command composes a dozen of about a hundred, so each is built when Hydra first asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from typing import Any, get_args, get_type_hints

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import DictConfig, OmegaConf

from goft_cli.config import SCHEMAS
from goft_cli.config.choices import OPEN
from goft_cli.system.locations import data_root

# For a verb on a trained run: a config source without group folders, where `adapter=DIR` is a key.
NO_FOLDERS = "goft_cli.compose"


def config_source(verb: str) -> tuple[str, str]:
    """Return where Hydra reads a verb's configuration, and its name there."""
    if reads_folder(verb):
        return str(data_root() / "configs"), verb
    return f"pkg://{NO_FOLDERS}", f"verb/{verb}"


def reads_folder(verb: str) -> bool:
    """Tell whether the verb composes from `configs/`, so that `adapter=` chooses a file there."""
    return "adapter" in verb_groups(verb)


@cache
def verb_groups(verb: str) -> tuple[str, ...]:
    """Return the groups that a verb composes: the sections of its schema."""
    hints = get_type_hints(SCHEMAS[verb]).items()
    return tuple(name for name, hint in hints if any(map(is_dataclass, (hint, *get_args(hint)))))


class Deferred(ConfigNode):
    """A configuration in Hydra's store that is built when Hydra first reads its `node`."""

    def __init__(self, path: str, build: Callable[[], Any], package: str | None = None) -> None:
        self.group, _, name = path.rpartition("/")
        self.name, self.package, self.provider = f"{name}.yaml", package, None
        self.build = build

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - Python asks for any missing name
        if name != "node":
            raise AttributeError(name)
        self.node = self.build()
        return self.node

    def __copy__(self) -> ConfigNode:
        """Return a copy that is built once: Hydra reads `node` only of copies."""
        return ConfigNode(self.name, self.node, self.group, self.package, self.provider)

    def __deepcopy__(self, _: object) -> Deferred:
        """Return this object: Hydra copies the store for each composition."""
        return self


def offer(verb: str) -> None:
    """Put the schemas and a verb's configurations into Hydra's store; calls may repeat."""
    repo = ConfigStore.instance().repo
    for path in (data_root() / "configs").iterdir():
        repo.pop(path.name, None)  # another verb may have offered this group
    for root, nodes in {"schema": schemas(), "verb": verb_files(), **verb_store(verb)}.items():
        repo[root] = tree(nodes)


def tree(nodes: dict[str, Deferred]) -> dict[str, Any]:
    """Nest configurations by their paths, as Hydra's store keeps them."""
    found: dict[str, Any] = {}
    for path, node in nodes.items():
        *groups, _ = path.split("/")
        inner = found
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[node.name] = node
    return found


@cache
def schemas() -> dict[str, Deferred]:
    """Return the dataclasses, by their paths below `schema`."""
    of_path = SCHEMAS.items()
    return {path: Deferred(f"schema/{path}", partial(built, schema)) for path, schema in of_path}


def built(schema: type) -> DictConfig:
    """Build a schema in which Hydra lets users add keys only to mappings of names."""
    cfg = OmegaConf.structured(schema)
    for name in mappings_of_names(schema):
        cfg._get_node(name)._set_flag("struct", False)
    return cfg


def mappings_of_names(schema: type) -> list[str]:
    """Return the keys of a schema that map names to names or options to values, as `extra` does."""
    hints = get_type_hints(schema)
    entries = fields(schema)
    return [
        one.name for one in entries if one.metadata == OPEN or hints[one.name] == dict[str, str]
    ]


@cache
def verb_files() -> dict[str, Deferred]:
    """Return the verbs' own files, where verbs that read no folder find them."""
    files = (data_root() / "configs").glob("*.yaml")
    return {
        file.stem: Deferred(f"verb/{file.stem}", partial(OmegaConf.load, file), "_global_")
        for file in files
    }


@cache
def verb_store(verb: str) -> dict[str, dict[str, Deferred]]:
    """Return the groups of a verb that reads no folder, by group and by path below it."""
    if reads_folder(verb):
        return {}
    return {group: dict(group_files(group)) for group in verb_groups(verb)}


def group_files(group: str) -> Iterator[tuple[str, Deferred]]:
    """Yield the files of one group, by path below it."""
    root = data_root() / "configs" / group
    for file in root.rglob("*.yaml"):
        path = file.relative_to(root).with_suffix("").as_posix()
        yield path, Deferred(f"{group}/{path}", partial(OmegaConf.load, file))

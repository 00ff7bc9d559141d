"""YAML as people write it: `labels: [no, yes]` is two words, and a fault has its file and line."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import _utils as omegaconf_internals

from goft_cli.config import SCHEMAS
from goft_cli.system.files import read_checked

TEXT = "tag:yaml.org,2002:str"
# Items of a list that Hydra's grammar takes for another type, and would write in its own way.
CONVERTED = re.compile(
    r"(?<=[\[,])\s*(true|false|null|nan|[+-]?(?:inf|\d[\d_]*[._e][\d._e+-]*|\.\d[\d._e+-]*))\s*(?=[\],])",
    re.IGNORECASE | re.ASCII,
)
plain_loader = omegaconf_internals.get_yaml_loader


@cache
def lists_of_texts() -> frozenset[str]:
    """Return the keys whose value is a list of texts, in every section that has them."""
    hints = [hint for kind in SCHEMAS.values() for hint in get_type_hints(kind).items()]
    others = {name for name, hint in hints if hint != list[str]}
    return frozenset(name for name, _ in hints if name not in others)


def keep_words() -> None:
    """Have OmegaConf, and with it Hydra, read such lists in YAML files as they are written.

    OmegaConf has no setting for it: past its loader, `no` is the text `False`. A file that is no
    YAML is refused before it is loaded.
    """
    omegaconf_internals.get_yaml_loader = loader


def loader() -> Any:  # noqa: ANN401 - a class of PyYAML, which has no types
    """Return OmegaConf's loader of YAML, which leaves the items of such lists as they are."""

    class Loader(plain_loader()):
        def __init__(self, stream: Any) -> None:  # noqa: ANN401 - a text or an open file
            place = getattr(stream, "name", None)
            if place is None:
                super().__init__(stream)
            else:
                super().__init__(read_checked(Path(place)))
                self.name = place

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: ANN401
            for key, value in node.value:
                if key.value in lists_of_texts() and isinstance(value, yaml.SequenceNode):
                    for item in value.value:
                        if isinstance(item, yaml.ScalarNode):
                            item.tag = TEXT
            return super().construct_mapping(node, deep=deep)

    return Loader


def worded(word: str) -> str:
    """Quote the items of such a list on the command line that Hydra would take for no text."""
    key, equals, value = word.partition("=")
    if key.rpartition(".")[2] not in lists_of_texts() or set(value) & set("'\"${"):
        return word
    return key + equals + CONVERTED.sub(r"'\1'", value)

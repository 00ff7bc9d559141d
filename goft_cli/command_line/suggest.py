"""Did you mean: Hydra's and OmegaConf's refusals as one sentence with the nearest right word."""

from __future__ import annotations

import difflib
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from goft_cli.command_line.composition import (
    config_source,
    data_root,
    own_refusal,
    reads_folder,
    register,
    verb_groups,
)
from goft_cli.command_line.flags import as_overrides, read_flags
from goft_cli.command_line.nearest import did_you_mean

TYPE_WORDS = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
MAX_LISTED = 12
PRESETS = "+sweep"
"""A group that no configuration has by itself."""
NO_CHOICE = "Config group override must be a string or a list"
"""Hydra's words, in an error of no class of its own."""
PLUGINS = {
    "hydra/launcher": ("basic", "joblib", "submitit_local", "submitit_slurm"),
    "hydra/sweeper": ("basic", "optuna"),
}


@dataclass(frozen=True)
class CommandLine:
    """The words after `goft`: a verb, then flags and overrides."""

    verb: str
    words: tuple[str, ...]

    @property
    def flags(self) -> Namespace:
        """Hydra's flags, and the overrides; a flag of our own is one of those."""
        return read_flags(as_overrides(self.verb, self.words))

    @property
    def overrides(self) -> list[str]:
        """The words that set something; Hydra's flags and their values set nothing."""
        return self.flags.overrides

    @property
    def config_dirs(self) -> tuple[Path, ...]:
        """The user's own folder, named by `--config-dir`, if there is one."""
        folder = self.flags.config_dir
        return (Path(folder),) if folder else ()

    def groups(self) -> dict[str, list[str]]:
        """Return every choice of every config group that the verb composes."""
        return verb_choices(self.verb, self.config_dirs)

    def keys(self) -> list[str]:
        """Return every key of the configuration that the valid group choices compose."""
        groups = self.groups()
        chosen = [word for word in self.overrides if is_choice(word, groups)]
        return list(dict.fromkeys([*groups, *leaves(self.compose(chosen))]))

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of the verb with some overrides.

        Raises:
            HydraException, OmegaConfBaseException: they do not compose.
        """
        extra = ",".join(f"file://{folder.resolve()}" for folder in self.config_dirs)
        register(self.verb)
        GlobalHydra.instance().clear()
        place, name = config_source(self.verb)
        words = [*overrides, f"hydra.searchpath=[{extra}]"]
        with open_configs(place):
            return without_hydra(compose(name, words, return_hydra_config=True))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """Drop Hydra's own section, and remember its words: the run folder is named after them."""
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def open_configs(place: str) -> AbstractContextManager[None]:
    """Let Hydra read a folder or a package."""
    if place.startswith("pkg://"):
        return initialize_config_module(place.removeprefix("pkg://"), version_base="1.3")
    return initialize_config_dir(place, version_base="1.3")


def verb_choices(verb: str, config_dirs: tuple[Path, ...] = ()) -> dict[str, list[str]]:
    """Return the choices of every group of a verb, those of the user's own folders included."""
    shipped = group_choices((data_root() / "configs",))
    groups = {group: shipped[group] for group in shipped if group in verb_groups(verb)}
    if reads_folder(verb):
        groups[PRESETS] = shipped[PRESETS.lstrip("+")]
    for group, names in group_choices(config_dirs).items():
        groups[group] = sorted({*groups.get(group, []), *names})
    return groups


def is_choice(word: str, groups: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether `word` is a valid GROUP=CHOICE."""
    group, _, choice = word.partition("=")
    return choice in groups.get(group, [])


@cache
def group_choices(roots: tuple[Path, ...]) -> dict[str, list[str]]:
    """Read the groups from the YAML trees, without asking Hydra.

    A file whose name starts with an underscore is what others inherit, and no choice itself.
    """
    found: dict[str, set[str]] = {}
    for root in roots:
        for file in root.rglob("*/[!_]*.yaml"):
            group, *rest = file.relative_to(root).with_suffix("").parts
            found.setdefault(group, set()).add("/".join(rest))
    return {group: sorted(found[group]) for group in sorted(found)}


def explain(error: Exception, line: CommandLine) -> str | None:
    """Return the sentence for an error of composition, or None if it is none."""
    if isinstance(error, ValueError) and NO_CHOICE in str(error):
        return explain_no_choice(line)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if isinstance(error, OverrideParseException):
        return explain_syntax(error.override, line.groups())
    if isinstance(error, MissingConfigException):
        return explain_choice(error, line)
    if isinstance(error, InterpolationResolutionError):
        return str(own_refusal(error) or error).splitlines()[0]
    return explain_key(line) or explain_value(error, line.overrides)


def explain_no_choice(line: CommandLine) -> str | None:
    """A group set to a number or to nothing."""
    groups = line.groups()
    for word in line.overrides:
        group, _, choice = word.partition("=")
        if group in groups and not is_choice(word, groups):
            return f"{word}: {did_you_mean(choice, groups[group], prefix=f'{group}=')}"
        if not re.match(r"[\w+~]", group):
            return f"{word!r} has no key; write it as KEY=VALUE, for example seed=1"
    return None


def explain_syntax(word: str, groups: Mapping[str, Sequence[str]]) -> str:
    """A word without `=`, or one Hydra's grammar cannot read."""
    if "=" in word:
        return (
            f"cannot read {word!r}; a value with spaces or any of {{}}[],= needs quotes inside "
            f"quotes: '{word.partition('=')[0]}=\"...\"'"
        )
    for group, names in groups.items():
        if word in names:
            return f"{word!r} has no key; did you mean {group}={word}?"
    return f"{word!r} has no key; write it as KEY=VALUE, for example seed=1"


def explain_choice(error: MissingConfigException, line: CommandLine) -> str:
    """A choice that its group does not have."""
    missing = error.missing_cfg_file or ""
    for group, names in PLUGINS.items():
        if missing.startswith(f"{group}/"):
            return explain_plugin(group, missing.removeprefix(f"{group}/"), names)
    group, _, choice = missing.partition("/")
    group = group if group in line.groups() else f"+{group}"
    if group not in line.groups():
        return str(error).splitlines()[0]
    typed = next((word for word in line.overrides if word.startswith(f"{group}=")), group)
    hint = did_you_mean(choice, line.groups()[group], prefix=f"{group}=")
    return f"{typed}: there is no such {group.lstrip('+')}; {hint}"


def explain_plugin(group: str, choice: str, names: Sequence[str]) -> str:
    """A launcher or sweeper that Hydra does not have, or not yet."""
    if choice in names:
        return (
            f"{group}={choice}: its plugin is not installed; run pip install 'goft-cli[sweep]', "
            f"or pass {group}=basic"
        )
    return f"{group}={choice}: there is no such plugin; {did_you_mean(choice, names)}"


def explain_key(line: CommandLine) -> str | None:
    """The first override whose key does not exist."""
    keys, groups = line.keys(), line.groups()
    for word in line.overrides:
        if is_choice(word, groups) or word.startswith(("hydra.", "hydra/")):
            continue
        key = word.lstrip("+~").partition("=")[0].partition("@")[0]
        if key not in keys:
            return f"{word}: there is no key {key}; {nearest_key(key, keys)}"
    return None


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """Prefer a key of the same section, then one that ends alike, then any."""
    section, _, leaf = key.rpartition(".")
    siblings = [name for name in keys if name.rpartition(".")[0] == section]
    same_leaf = [name for name in keys if name.rpartition(".")[2] == leaf]
    near = (
        difflib.get_close_matches(key, siblings, n=1, cutoff=0.6)
        or sorted(same_leaf, key=len)
        or difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    )
    if near:
        return f"did you mean {near[0]}?"
    listed = ", ".join(sorted(siblings)[:MAX_LISTED])
    return f"keys there are {listed}" if listed else "see --help for the keys"


def explain_value(error: Exception, overrides: Sequence[str]) -> str:
    """A value that its key's type refuses."""
    cause = error.__cause__ or error.__context__ or error
    text = str(cause).splitlines()[0]
    key = getattr(cause, "full_key", None) or ""
    typed = next((word for word in overrides if key and word.startswith(f"{key}=")), key or "value")
    several = re.match(r"Ambiguous value for argument '(\S+?)=(.*)'", text)
    if several:
        name, values = several.groups()
        return f"{name}={values}: a sweep over several values needs -m; a list is {name}=[{values}]"
    present = re.match(r"Could not append to config. An item is already at '(.*)'", text)
    if present:
        return f"+{present[1]}: {present[1]} is already a key; write it without the +"
    wanted = re.search(r"could not be converted to (\w+)", text)
    if wanted:
        return f"{typed}: expected {TYPE_WORDS.get(wanted[1], wanted[1])}"
    enum = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", text)
    if enum:
        return f"{typed}: {did_you_mean(enum[1], enum[2].split(', '), prefix=f'{key}=')}"
    if "is not a ListConfig" in text:
        return f"{typed}: expected a list, such as {key}=[{typed.partition('=')[2]}]"
    return f"{typed}: {text.partition('. value: ')[0]}"


def leaves(cfg: DictConfig, prefix: str = "") -> list[str]:
    """Return the dotted path of every node below the root, sections included."""
    found = []
    for key in cfg:
        path = f"{prefix}{key}"
        found.append(path)
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            found += leaves(node, f"{path}.")
    return found

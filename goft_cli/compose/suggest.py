"""A command line, and errors that name the nearest valid word for what does not compose."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from goft_cli.compose.composition import own_refusal, register
from goft_cli.compose.flags import as_overrides, read_flags
from goft_cli.compose.keys import (
    PRESETS,
    UnreadableError,
    choice_shape,
    explain_form,
    explain_value,
    group_choices,
    is_choice,
    known_keys,
    verb_choices,
)
from goft_cli.compose.library_keys import place_of
from goft_cli.compose.store import config_source, mappings_of_names, verb_groups
from goft_cli.compose.words import SHORT, did_you_mean, nearest_key
from goft_cli.config import SCHEMAS
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_checked
from goft_cli.system.locations import data_root

PLAIN = re.compile(r"(?!null$)[\w./-]+")
"""One choice by its name: no list, no sweep, no interpolation."""
NO_CHOICE = "Config group override must be a string or a list"
"""Hydra's message for this mistake, which has no exception class."""
PLUGINS = {
    "hydra/launcher": ("basic", "joblib", "submitit_local", "submitit_slurm"),
    "hydra/sweeper": ("basic", "optuna"),
}


@dataclass(frozen=True)
class CommandLine:
    """The words after `goft`: a verb, then flags and overrides."""

    verb: str
    words: tuple[str, ...]

    @cached_property
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

    def own_choices(self) -> Iterator[tuple[str, str, Path]]:
        """Yield group, name and file of each choice of the words from the user's own folders."""
        for word in self.overrides:
            group, _, names = word.lstrip("+").partition("=")
            for root in self.config_dirs:
                own = group_choices((root,)).get(group, [])
                for name in names.split(","):
                    if name in own:
                        yield group, name, root / group / f"{name}.yaml"

    def groups(self) -> dict[str, list[str]]:
        """Return every choice of every config group that the verb composes."""
        return verb_choices(self.verb, self.config_dirs)

    def keys(self) -> list[str]:
        """Return every key of the configuration that the valid group choices compose."""
        groups = self.groups()
        chosen = [word for word in self.overrides if is_choice(word, groups)]
        try:
            found = known_keys(self.verb, chosen, self.config_dirs)
        except UnreadableError:
            found = composed_keys(self.compose(chosen))
        short = SHORT if "task" in groups else ()
        return list(dict.fromkeys([*groups, *found, *short]))

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of the verb with some overrides."""
        extra = ",".join(f"file://{folder.resolve()}" for folder in self.config_dirs)
        register(self.verb)
        GlobalHydra.instance().clear()
        place, name = config_source(self.verb)
        words = [*overrides, f"hydra.searchpath=[{extra}]"]
        with open_configs(place):
            return without_hydra(compose(name, words, return_hydra_config=True))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """Drop Hydra's own section, and store its overrides, after which the run folder is named."""
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def open_configs(place: str) -> AbstractContextManager[None]:
    """Let Hydra read a folder or a package."""
    if place.startswith("pkg://"):
        return initialize_config_module(place.removeprefix("pkg://"), version_base="1.3")
    return initialize_config_dir(place, version_base="1.3")


def explain(error: Exception, line: CommandLine) -> GoftError | None:
    """Return the GoftError for an error of composition, or None for another error."""
    if isinstance(error, ValueError) and NO_CHOICE in str(error):
        return explain_no_choice(line)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if isinstance(error, OverrideParseException):
        return explain_syntax(error.override, line.groups())
    if isinstance(error, MissingConfigException):
        return explain_choice(error, line)
    if isinstance(error, InterpolationResolutionError):
        return own_refusal(error) or GoftError(str(error).splitlines()[0])
    try:
        refusal = explain_key(line) or explain_form(
            error, line.overrides, line.keys(), multirun=line.flags.multirun
        )
    except (HydraException, OmegaConfBaseException):  # what does not compose is explained below
        refusal = None
    return refusal or explain_value(error, line.overrides)


def explain_no_choice(line: CommandLine) -> GoftError | None:
    """Return the error for a group that is set to a number or to nothing."""
    groups = line.groups()
    for word in line.overrides:
        group, _, choice = word.partition("=")
        if group in groups and not is_choice(word, groups):
            return GoftError(f"{word}: {did_you_mean(choice, groups[group], prefix=f'{group}=')}")
        if not re.match(r"[\w+~]", group):
            return without_key(word)
    return None


def without_key(word: str, remedy: str = "write it as KEY=VALUE, for example seed=1") -> GoftError:
    """Return the error for a word that sets nothing."""
    return GoftError(f"{word!r} has no key", remedy)


def explain_syntax(word: str, groups: Mapping[str, Sequence[str]]) -> GoftError:
    """Return the error for a word without `=`, or one that Hydra's grammar cannot read."""
    if "=" in word.lstrip("="):
        remedy = "a value with spaces or any of {}[],= needs quotes inside quotes: "
        remedy += f"'{word.partition('=')[0]}=\"...\"'"
        return GoftError(f"cannot read {word!r}", remedy)
    for group, names in groups.items():
        if word in names:
            return without_key(word, f"did you mean {group}={word}?")
    return without_key(word)


def explain_choice(error: MissingConfigException, line: CommandLine) -> GoftError:
    """Return the error for a choice that Hydra did not find."""
    missing = error.missing_cfg_file or ""
    for group, names in PLUGINS.items():
        if missing.startswith(f"{group}/"):
            return explain_plugin(group, missing.removeprefix(f"{group}/"), names)
    group, _, choice = missing.partition("/")
    group = group if group in line.groups() else f"+{group}"
    if group not in line.groups():
        return GoftError(str(error).splitlines()[0])
    typed = next((word for word in line.overrides if word.startswith(f"{group}=")), None)
    return no_choice(typed or f"{group}={choice}", group, choice, line.groups()[group])


def explain_plugin(group: str, choice: str, names: Sequence[str]) -> GoftError:
    """Return the error for a launcher or sweeper that is unknown or not installed."""
    if choice in names:
        remedy = f"run pip install 'goft-cli[sweep]', or pass {group}=basic"
        return GoftError(f"{group}={choice}: its plugin is not installed", remedy)
    return GoftError(f"{group}={choice}: there is no such plugin", did_you_mean(choice, names))


def mistyped(line: CommandLine) -> GoftError | None:
    """Return the error for an unknown choice or key without composing; None if all are known."""
    for group, name, file in line.own_choices():
        read_checked(file)
        with suppress(UnreadableError):  # what only Hydra can follow
            choice_shape(group, name, (*line.config_dirs, data_root() / "configs"))
    # left to Hydra: a sweep, whose jobs may choose groups with different keys, and completion
    if line.flags.multirun or line.flags.shell_completion:
        return None
    groups = line.groups()
    group, _, choice = (line.flags.config_name or "").partition("/")
    if choice in groups.get(group, []):
        problem = f"--config-name {group}/{choice} is a file of a group"
        return GoftError(problem, f"write {group}={choice}")
    for word in line.overrides:
        if word.startswith(f"{PRESETS}="):
            return GoftError(f"{word}: a sweep needs -m", f"write goft {line.verb} -m {word}")
        group, equals, choice = word.partition("=")
        if not group or not (equals or word.startswith("~")):
            return explain_syntax(word, groups)
        if group in groups and PLAIN.fullmatch(choice) and choice not in groups[group]:
            return no_choice(word, group, choice, groups[group])
    return explain_key(line)


def no_choice(word: str, group: str, choice: str, choices: Sequence[str]) -> GoftError:
    """Return the error for a choice that its group does not have."""
    hint = did_you_mean(choice, choices, prefix=f"{group}=")
    return GoftError(f"{word}: there is no such {group.lstrip('+')}", hint)


def explain_key(line: CommandLine) -> GoftError | None:
    """Return the error for the first override whose key does not exist."""
    keys, groups = line.keys(), line.groups()
    for word in line.overrides:
        if is_choice(word, groups) or word.startswith(("hydra.", "hydra/")):
            continue
        key = word.lstrip("+~").partition("=")[0].partition("@")[0]
        mapping = key.rpartition(".")[0]
        if key not in keys and not (mapping in keys and is_mapping_of_names(mapping)):
            others = [known for known in keys if SHORT.get(known) != key]  # not its own short form
            problem, remedy = f"{word}: there is no key {key}", nearest_key(key, others)
            if kept := kept_of_run(key, keys):
                problem, remedy = f"{problem}; a run keeps what it was trained with", kept
            elif "trainer" in keys and (place := place_of(key)):
                remedy = place
            return GoftError(problem, remedy)
    return None


def kept_of_run(key: str, keys: Sequence[str]) -> str | None:
    """Return the remedy for a training key in a verb on a run; None for other keys."""
    section = key.partition(".")[0]
    beside = any(known.startswith(f"{section}.") for known in keys)
    if "base_model" not in keys or section not in verb_groups("train") or beside:
        return None
    places = "base_model=PATH sets where its model is now"
    places += ", data_dir=DIR where its data is" if "data_dir" in keys else ""
    return places


def is_mapping_of_names(key: str) -> bool:
    """Tell whether the user may choose the names of the keys below a key."""
    return any(key.rpartition(".")[2] in mappings_of_names(kind) for kind in SCHEMAS.values())


def composed_keys(cfg: DictConfig, prefix: str = "") -> list[str]:
    """Return the dotted path of every node below the root, sections included."""
    found = []
    for key in cfg:
        path = f"{prefix}{key}"
        found.append(path)
        node = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            found += composed_keys(node, f"{path}.")
    return found

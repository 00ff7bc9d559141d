"""Composition: read YAML as it is written, compose with Hydra, freeze into a dataclass.

In a YAML file `labels: [no, yes]` is two texts, and an error names its file and line.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import yaml
from omegaconf import MISSING, DictConfig, Node, OmegaConf, base, errors, grammar_parser
from omegaconf import _utils as omegaconf_internals
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from goft_cli.compose.library_keys import check_given
from goft_cli.compose.own import own, untuned
from goft_cli.compose.own_model import own_model
from goft_cli.compose.store import offer
from goft_cli.compose.words import nearest_key
from goft_cli.config import SCHEMAS, BenchmarkConfig, TrainConfig, TrainerConfig
from goft_cli.config.choices import PENALTY_WEIGHT
from goft_cli.config.task import UNTUNED
from goft_cli.config.trainer import accumulation_steps, device_batch, processes
from goft_cli.run.configuration import flatten
from goft_cli.system.errors import GoftError
from goft_cli.system.files import YAML_LOADER, read_checked
from goft_cli.system.secrets import is_secret, secret_in

ConfigT = TypeVar("ConfigT")
TEXT = "tag:yaml.org,2002:str"
# Items of a list that Hydra's grammar takes for another type and would rewrite.
CONVERTED = re.compile(
    r"(?<=[\[,])\s*(true|false|null|nan|[+-]?(?:inf|\d[\d_]*[._e][\d._e+-]*|\.\d[\d._e+-]*))\s*(?=[\],])",
    re.IGNORECASE | re.ASCII,
)
HYDRA_FOLDERS = ("hydra.run.dir", "hydra.output_subdir", "hydra.job.chdir")
"""Keys of Hydra's own folders; goft has its run folder and stays in the working folder."""
# Longer folder names break on some file systems once a metric or checkpoint name is appended.
MAX_RUN_NAME = 120
MAX_PLACE_NAME = 32
UNNAMEABLE = re.compile(r"[^\w.=+,-]+", re.ASCII)
"""Characters that folder names do not have."""
PLACES = ("model.path", "task.data_dir", "benchmark.data_dir", "init_adapter")
"""Keys whose values are too long, and too specific to one machine, for a folder name."""
IN_HOME = ("output_dir", "output", "input", "merged_dir")
"""Keys of paths whose `~` is replaced here; the other paths' where they are read."""
plain_loader = omegaconf_internals.get_yaml_loader
parse = cache(grammar_parser.parse)
"""Parses an interpolation once: every composed configuration has the same hundred."""


@cache
def lists_of_texts() -> frozenset[str]:
    """Return the keys whose value is a list of texts, in every section that has them."""
    hints = [hint for kind in SCHEMAS.values() for hint in get_type_hints(kind).items()]
    others = {name for name, hint in hints if hint not in {list[str], list[str] | None}}
    return frozenset(name for name, _ in hints if name not in others)


def keep_words() -> None:
    """Make OmegaConf and Hydra read such lists in YAML files as they are written."""
    # OmegaConf has no setting for it: its own loader turns `no` into the text `False`
    omegaconf_internals.get_yaml_loader = loader
    base.__dict__["parse"] = omegaconf_internals.__dict__["parse"] = parse


@cache
def loader() -> Any:  # noqa: ANN401 - a class of PyYAML, which has no types
    """Return OmegaConf's loader of YAML, which leaves the items of such lists as they are.

    It resolves and constructs as OmegaConf's, on the parser in C, which takes a tenth of the time.
    """
    plain = plain_loader()

    class Loader(*((plain,) if YAML_LOADER is yaml.SafeLoader else (YAML_LOADER, plain))):
        def __init__(self, stream: Any) -> None:  # noqa: ANN401 - a text or an open file
            place = getattr(stream, "name", None)
            if place is not None:
                stream = io.StringIO(read_checked(Path(place)))
                stream.name = place  # for the marks of errors
            super().__init__(stream)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: ANN401
            for key, value in node.value:
                if key.value in lists_of_texts() and isinstance(value, yaml.SequenceNode):
                    for item in value.value:
                        if isinstance(item, yaml.ScalarNode):
                            item.tag = TEXT
            return super().construct_mapping(node, deep=deep)

    return Loader


def worded(word: str) -> str:
    """Quote the items of such a list on the command line that Hydra would not read as text."""
    key, equals, value = word.partition("=")
    if key.rpartition(".")[2] not in lists_of_texts() or set(value) & set("'\"${"):
        return word
    return key + equals + CONVERTED.sub(r"'\1'", value)


def refuse_words(words: Sequence[str]) -> None:
    """Refuse overrides of Hydra's folders and overrides with a secret, before composition."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key in HYDRA_FOLDERS:
            raise GoftError(f"{word}: goft has a folder of its own", "pass output_dir=DIR instead")
        refuse_secret(key, word)


def refuse_secret(key: str, text: str) -> None:
    """Refuse a text that holds the value of a key or token."""
    if name := secret_in(text):
        where = "an override" if secret_in(key) else key
        raise GoftError(
            f"{where}: it holds the secret {name}, which would be written into names and files",
            f"leave it out: {name} is read from the environment where it is needed",
        )


def environment(name: str, *default: str | None, _node_: Node) -> str | None:
    """Read an environment variable for `${oc.env:NAME}`, in place of OmegaConf's own resolver."""
    key = _node_._get_full_key(None)
    if name not in os.environ and not default:
        raise GoftError(
            f"{key}: the environment variable {name} is not set",
            f"set it, or give a default: ${{oc.env:{name},DEFAULT}}",
        )
    if is_secret(name):
        raise GoftError(
            f"{key}: ${{oc.env:{name}}} is a secret, and {key} is written into names and files",
            "leave it out: it is read from the environment where it is needed",
        )
    return oc.env(name, *default)


def recipe_value(key: str, *, _root_: DictConfig) -> Any:  # noqa: ANN401 - a YAML scalar
    """Return a hyperparameter from the first source that has it.

    The sources in order: the task's row for this adapter, the task's shared row, the model's budget
    for this adapter, the adapter's own fallback, the trainer's default.
    """
    task, model, adapter = _root_.task, _root_.model, _root_.adapter
    if issubclass(OmegaConf.get_type(task) or dict, BenchmarkConfig):
        raise GoftError(
            f"task {task.name} has nothing to train on",
            f"score it with goft eval task={task.name} adapter=RUN_FOLDER",
        )
    rows = [rows.get(adapter.recipe) or {} for rows in (task.recipe.by_adapter, model.budgets)]
    sources = [rows[0], task.recipe.shared, rows[1], adapter.fallback, trainer_defaults()]
    if task.recipe.get("source") == UNTUNED:
        sources.insert(3, untuned(adapter.recipe))
    for source in sources:
        if key in source:
            return source[key]
    raise GoftError(
        f"task {task.name}: its recipe gives no {key} for adapter {adapter.name}",
        f"pass trainer.{key}=VALUE or add it to the task's YAML",
    )


def trainer_defaults() -> dict[str, Any]:
    """Return the fields under `trainer` that have a value without any recipe."""
    return {one.name: one.default for one in fields(TrainerConfig) if one.default is not MISSING}


def run_name(seed: int, overrides: str) -> str:
    """Name a run after its seed and its overrides, so that equal overrides mean one folder."""
    return folder_name(f"seed{seed}-{overrides}" if overrides else f"seed{seed}")


def with_places(overrides: str, words: Sequence[str]) -> str:
    """Put the `PLACES` of a job before its other overrides, where a long name does not cut them.

    `overrides` is the text that Hydra joins, `words` are all overrides as they were typed.
    """
    typed = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    named = [f"{key}={place_name(typed[key])}" for key in PLACES if key in typed]
    return ",".join(filter(None, [*named, overrides]))


def place_name(place: str) -> str:
    """Name a folder or hub id by its last part, and by a digest if there are other parts.

    The digest is of the value as typed, so that the same override finds the run again.
    """
    last = re.sub(UNNAMEABLE, "_", place.strip("'\"").rstrip("/").rpartition("/")[2])
    short = last[-MAX_PLACE_NAME:]
    return short if short == place else f"{short}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def folder_name(words: str) -> str:
    """Make a short folder name from overrides; different ones get different names even if cut."""
    name = re.sub(UNNAMEABLE, "_", words)
    if len(name) <= MAX_RUN_NAME:
        return name
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return f"{name[: MAX_RUN_NAME - 13]}-{digest}"


def register(verb: str = "train") -> None:
    """Register the schemas, a verb's groups and the resolvers with Hydra; calls may repeat."""
    keep_words()
    offer(verb)
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


RESOLVERS: dict[str, Callable[..., Any]] = {
    "oc.env": environment,
    "own": own,
    "recipe": recipe_value,
    "default_penalty": lambda: PENALTY_WEIGHT,
    "with_places": with_places,
    "run_name": run_name,
    "folder_name": folder_name,
    "own_model": own_model,
    "device_batch": device_batch,
    "accumulation_steps": accumulation_steps,
    "processes": processes,
    # direction and bounds of a hyperparameter search
    "direction": lambda greater_is_better: "maximize" if greater_is_better else "minimize",
    "share": lambda value, factor: float(f"{value * factor:.6g}"),
}
"""What a YAML file may write as `${name:arguments}`."""


def refuse_unknown(cfg: DictConfig, prefix: str = "") -> None:
    """Refuse keys that a `+` forced past the schema; nothing would ever read them."""
    kind = OmegaConf.get_type(cfg)
    for key in cfg:
        path = f"{prefix}{key}"
        if is_dataclass(kind) and key not in {entry.name for entry in fields(kind)}:
            known = [f"{prefix}{entry.name}" for entry in fields(kind)]
            raise GoftError(f"+{path}: there is no key {path}", nearest_key(path, known))
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            refuse_unknown(node, f"{path}.")


def freeze(cfg: DictConfig, kind: type[ConfigT]) -> ConfigT:
    """Resolve a composed configuration into its dataclass, ranges checked."""
    refuse_unknown(cfg)
    try:
        frozen = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        if refusal := own_refusal(error):
            raise refusal from None
        key, sentence = error.full_key, (str(error).splitlines() or [""])[0]
        if isinstance(error, MissingMandatoryValue | errors.InterpolationToMissingValueError):
            raise without_values(cfg, key) from None
        raise GoftError(f"{key or 'configuration'}: {sentence}") from error
    if not isinstance(frozen, kind):
        found = f"--config-name: found a file that does not make a {kind.__name__}"
        raise GoftError(found, "leave the flag out")
    texts = {key: str(value) for key, value in flatten(asdict(cast(Any, frozen))).items()}
    if secret_in("\n".join(texts.values())):  # once, for it reads all of the environment
        for key, text in texts.items():
            refuse_secret(key, text)
    if isinstance(frozen, TrainConfig):
        check_given(frozen)
    for key in IN_HOME:
        if str(place := getattr(frozen, key, "")).startswith("~"):
            setattr(frozen, key, str(Path(place).expanduser()))
    return frozen


def without_values(cfg: DictConfig, key: str | None) -> GoftError:
    """Return one error for all keys that have no value."""
    names = missing_keys(cfg) or [str(key)]
    have = "have" if names[1:] else "has"
    pairs = [f"{one}={'RUN_FOLDER' if one in ('adapter', 'runs') else 'VALUE'}" for one in names]
    return GoftError(f"{', '.join(names)} {have} no value", f"pass {' '.join(pairs)}")


def missing_keys(cfg: DictConfig, prefix: str = "") -> list[str]:
    """Return the keys without a value; OmegaConf's own function stops at interpolations."""
    found = []
    for key, node in cfg._content.items() if isinstance(cfg._content, dict) else ():
        if node._is_missing():
            found.append(f"{prefix}{key}")
        elif isinstance(node, DictConfig) and not node._is_none():
            found += missing_keys(node, f"{prefix}{key}.")
    return found


def own_refusal(error: BaseException | None) -> GoftError | None:
    """Find the GoftError inside the errors that OmegaConf wraps around a resolver's."""
    while error is not None and not isinstance(error, GoftError):
        error = error.__cause__ or error.__context__
    return error

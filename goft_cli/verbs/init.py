"""`goft init data=FILE`: write a task YAML for the file, and print the training command."""

from __future__ import annotations

import re
import shlex
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from goft_cli.compose.keys import group_choices
from goft_cli.compose.own import RATES, untuned
from goft_cli.compose.recomposition import own_folders
from goft_cli.compose.words import lettered
from goft_cli.config import SCHEMAS, InitConfig, TaskConfig
from goft_cli.config.task import UNTUNED
from goft_cli.run.configuration import as_plain, schemas_of
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_text
from goft_cli.system.locations import data_root

OWN_RECIPE = "a start, not tuned"
UNTYPABLE = re.compile(r"[^\w.-]+")
"""Characters of file names that Hydra or a shell would read in its own way."""
WRITTEN = re.compile(r"[+~]*(task[.=]|(model|name|run_name|output_dir|overwrite)=)")
"""Words whose value the YAML or its name has, and those on the file itself."""
LEFT_OUT = {"family", "recipe", "headline_split"}
"""Keys with the schema's value, or that are written in another form."""


def main() -> None:
    """Compose `configs/init.yaml` and write the task."""
    run_composed("init", InitConfig, init)


def init(cfg: InitConfig) -> None:
    """Write the task below `place(cfg)`, and print the command to train on it."""
    from goft_cli.run.summary import describe_own, screen

    if cfg.task.own is None:
        raise GoftError("init: no data is named", "pass data=FILE or data=FOLDER")
    name = typable(cfg.name or Path(cfg.task.name).name)
    folder = place(cfg)
    file = folder / "task" / f"{name}.yaml"
    if file.exists() and not cfg.overwrite:
        raise GoftError(f"{file} is already there", "pass another name=NAME, or overwrite=true")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, as_yaml(cfg, name))
    words = ["goft", "train", "--config-dir", str(folder), f"task={name}", *unwritten()]
    said = describe_own(cfg.task, cfg.task.own)
    for line in (said, f"task: {file}", f"train on it: {shlex.join(words)}"):
        screen.print(line, soft_wrap=True, highlight=False, markup=False)


def place(cfg: InitConfig) -> Path:
    """Return the folder to write to: `output_dir`, or the one that `--config-dir` names.

    The task may use a model from there, and `goft train` takes one `--config-dir`.
    """
    folder, given = Path(cfg.output_dir), own_folders()
    if not given:
        return folder
    typed = any(word.startswith("output_dir=") for word in HydraConfig.get().overrides.task)
    if typed and folder.resolve() != given[0].resolve():
        raise GoftError(
            f"output_dir={folder}: goft train reads one folder, and --config-dir names {given[0]}",
            "leave output_dir out",
        )
    return given[0]


def typable(name: str) -> str:
    """Return a name that, after `task=`, is read as a text and chooses no task of goft's own."""
    parts = (UNTYPABLE.sub("-", part).strip("-").lstrip("_.") for part in name.split("/"))
    plain = "/".join(filter(None, parts)) or "task"
    read = OverridesParser.create().parse_override(lettered(f"task={plain}")).value()
    shipped = group_choices((data_root() / "configs",))["task"]
    return f"my-{plain}" if read != plain or plain in shipped else plain


def unwritten() -> list[str]:
    """Return the words of this command that the YAML does not have, for the printed one."""
    words = HydraConfig.get().overrides.task
    return [word for word in words if not WRITTEN.match(word)]


def as_yaml(cfg: InitConfig, name: str) -> str:
    """Return the YAML of the task, its schema and its model named, its values written out."""
    schema, section = schemas_of(cfg)["task"], as_plain(cfg)["task"]
    own = {key: value for key, value in section.items() if key not in LEFT_OUT}
    own["name"] = name
    if section["data_dir"] is not None:
        own["data_dir"] = str(Path(section["data_dir"]).expanduser().resolve())
    if cfg.task.own is not None and cfg.task.own.validation is not None:
        own["own"]["validation"] = str(Path(cfg.task.own.validation).expanduser().resolve())
    kept = {key: value for key, value in own.items() if not is_default(SCHEMAS[schema], key, value)}
    content = {**kept, "recipe": recipe_of(cfg.task)}
    model = f"override /model@_global_.model: {HydraConfig.get().runtime.choices['model']}"
    head = f"defaults:\n  - /schema/{schema}@_here_\n  - {model}\n\n"
    source = Path(own["data_dir"] or section["dataset"]["id"]).name
    said = f"# {name}: written by goft init from {source}; edit as needed\n"
    return said + head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def is_default(schema: type, key: str, value: object) -> bool:
    """Tell whether a value is the schema's default."""
    entry = next(entry for entry in fields(schema) if entry.name == key)
    default: Any = entry.default if entry.default_factory is MISSING else entry.default_factory()
    if isinstance(default, Enum):
        default = default.name
    return value == default or (key == "dataset" and isinstance(value, dict) and not value["id"])


def recipe_of(task: TaskConfig) -> dict[str, Any]:
    """Return the hyperparameters: the task's own, or a start for every adapter."""
    recipe = task.recipe
    if recipe.source != UNTUNED:
        return {"source": recipe.source, "shared": recipe.shared, "by_adapter": recipe.by_adapter}
    shared = untuned("") | recipe.shared
    rates = {adapter: {"learning_rate": rate} for adapter, rate in RATES.items()}
    return {"source": OWN_RECIPE, "shared": shared, "by_adapter": rates | recipe.by_adapter}

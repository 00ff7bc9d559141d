"""The files under `recipes/`: published results, and the command that reproduces each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from goft_cli.compose.composition import freeze
from goft_cli.compose.words import did_you_mean
from goft_cli.config import ReproductionConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_yaml
from goft_cli.system.locations import data_root

SHARED = "_base.yaml"
"""What the recipes of a folder have in common."""
LAUNCHERS = "accelerate"
"""The folder beside the recipes, of files for `accelerate launch --config_file`."""


@dataclass(frozen=True)
class Cell:
    """One method of a recipe, such as `table1/cola/qgoft`."""

    recipe_name: str
    method: str

    @property
    def name(self) -> str:
        """What a user types."""
        return f"{self.recipe_name}/{self.method}"

    @property
    def recipe(self) -> ReproductionConfig:
        """Its recipe."""
        return read_recipe(self.recipe_name)

    def words(self, seed: int) -> list[str]:
        """Return what follows `goft train` for one seed."""
        recipe = self.recipe
        method = recipe.methods.get(self.method, [f"adapter={self.method}"])
        chosen = [f"task={recipe.task}", f"model={recipe.model}", *method]
        return [*chosen, *recipe.words, f"seed={seed}"]

    def command(self, seeds: Sequence[int], more: Sequence[str] = ()) -> str:
        """Return what a user types for the same runs: a sweep over the seeds, and more words."""
        *words, _ = self.words(seeds[0])
        sweep = f"seed={','.join(map(str, seeds))}"
        return shlex.join(["goft", "train", "-m", *words, *more, sweep])


def recipe_names(root: Path | None = None) -> list[str]:
    """Return the name of every recipe, such as `table1/cola`."""
    root = root or data_root() / "recipes"
    # not deeper: folders of adapters and of results have YAML files that are no recipes
    files = [*root.glob("[!_]*.yaml"), *root.glob("*/[!_]*.yaml")]
    names = (file.relative_to(root).with_suffix("") for file in files)
    return sorted(name.as_posix() for name in names if name.parent.name != LAUNCHERS)


def folder_of(name: str) -> str:
    """Return the folder, a table or figure, of a recipe or a cell."""
    return name.partition("/")[0]


def read_recipe(name: str, root: Path | None = None) -> ReproductionConfig:
    """Read a recipe, merged into what its folder shares."""
    return _read((root or data_root() / "recipes") / f"{name}.yaml")


@cache
def _read(path: Path) -> ReproductionConfig:
    shared = path.with_name(SHARED)
    try:
        parts = [OmegaConf.load(file) for file in (shared, path) if file.is_file()]
        merged = OmegaConf.merge(OmegaConf.structured(ReproductionConfig), *parts)
        return freeze(cast("DictConfig", merged), ReproductionConfig)
    except OmegaConfBaseException as error:
        key, sentence = error.full_key or "recipe", str(error).splitlines()[0]
        raise GoftError(f"{path}: {key}: {sentence}") from error
    except GoftError as error:
        raise GoftError(f"{path}: {error.problem}", error.remedy) from error


def cells(task: str | None = None) -> list[Cell]:
    """Return every method of every recipe, or of those with a task alone."""
    names = [name for name in recipe_names() if task is None or task_of(name) == task]
    return [Cell(name, method) for name in names for method in read_recipe(name).published]


def task_of(name: str) -> object:
    """Return the task of a recipe, whose other keys are not checked: that takes longer."""
    path = data_root() / "recipes" / f"{name}.yaml"
    files = (file for file in (path, path.with_name(SHARED)) if file.is_file())
    return next((task for file in files if (task := read_yaml(file).get("task"))), None)


def select(target: str) -> list[Cell]:
    """Return the cells of `table1/cola/qgoft`, `table1/cola`, `table1`, or `table1/*/qgoft`."""
    known = cells()
    found = [one for one in known if fnmatch(one.name, target) or fnmatch(one.name, f"{target}/*")]
    if not found:
        folders = [folder_of(one.name) for one in known]
        names = {*folders, *(one.recipe_name for one in known), *(one.name for one in known)}
        raise GoftError(
            f"{target}: there is no such recipe",
            f"{did_you_mean(target, names)} (goft reproduce list names them all)",
        )
    return found

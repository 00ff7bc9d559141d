"""Every YAML under configs/, and each task composed with each adapter, once per test run."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any, cast

import yaml
from omegaconf import OmegaConf

from goft_cli.composition import data_root
from goft_cli.config import TrainConfig
from goft_cli.suggest import group_choices
from tests.small import composed

CONFIGS = data_root() / "configs"
CHOICES = group_choices((CONFIGS,))


def stated(group: str, choice: str) -> dict[str, Any]:
    """Read what a YAML states, the bases it inherits from included; `defaults` is the schema."""
    content = yaml.safe_load((CONFIGS / group / f"{choice}.yaml").read_text(encoding="utf-8"))
    parent = content["defaults"][0].removesuffix("@_here_")
    if parent.startswith("/schema/"):
        return content | {"defaults": parent.removeprefix("/schema/")}
    base = stated(group, parent.removeprefix(f"/{group}/"))
    merged = OmegaConf.merge(base, content, {"defaults": base["defaults"]})
    return cast(dict[str, Any], OmegaConf.to_container(merged))


def recipe_of(task: str) -> str:
    """Tell recipes apart; tasks of one base share theirs."""
    return str(stated("task", task)["recipe"])


# Tasks that follow each other with the same recipe differ in their data alone: the first of them
# goes with every adapter, the others with one.
CELLS = [
    (task, adapter)
    for _, tasks in groupby(CHOICES["task"], key=recipe_of)
    for index, task in enumerate(tasks)
    for adapter in CHOICES["adapter"]
    if index == 0 or adapter == "goft"
]


@cache
def cell(task: str, adapter: str) -> TrainConfig:
    """Compose a task with an adapter; do not change what comes back, it is shared."""
    return composed([f"task={task}", f"adapter={adapter}"])

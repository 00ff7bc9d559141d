"""Every YAML under configs/, and each task composed with each adapter, once per test run."""

from __future__ import annotations

from functools import cache

import yaml

from goft_cli.composition import data_root
from goft_cli.config import TrainConfig
from goft_cli.suggest import group_choices
from tests.small import composed

CHOICES = group_choices((data_root() / "configs",))
TASKS = data_root() / "configs" / "task"
# A benchmark has no recipe: it is scored and not trained.
TRAINED = [
    task
    for task in CHOICES["task"]
    if "recipe" in yaml.safe_load((TASKS / f"{task}.yaml").read_text(encoding="utf-8"))
]
CELLS = [(task, adapter) for task in TRAINED for adapter in CHOICES["adapter"]]


@cache
def cell(task: str, adapter: str) -> TrainConfig:
    """Compose a task with an adapter; do not change what comes back, it is shared."""
    return composed([f"task={task}", f"adapter={adapter}"])

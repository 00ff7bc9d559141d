"""Tasks: data in, metric out; one class per family, one YAML per task."""

from __future__ import annotations

from typing import Any

from goft_cli.config import TaskConfig
from goft_cli.errors import GoftError
from goft_cli.tasks.base import Task, TaskData
from goft_cli.tasks.classification import TextClassification

__all__ = ["FAMILIES", "Task", "TaskData", "build_task"]

FAMILIES: dict[str, type[Task[Any]]] = {
    "text_classification": TextClassification,
}
"""The class behind `task.family`."""


def build_task(config: TaskConfig) -> Task[Any]:
    """Build the task that a configuration describes.

    Raises:
        GoftError: the family is unknown, or the configuration contradicts itself.
    """
    family = FAMILIES.get(config.family)
    if family is None:
        raise GoftError(
            f"task {config.name}: unknown family {config.family!r}; "
            f"task.family is one of {', '.join(FAMILIES)}"
        )
    return family(config)

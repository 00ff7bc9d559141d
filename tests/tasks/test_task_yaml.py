"""Every YAML under configs/task describes a task that can be built; none is listed here by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.config import TRAIN_SAMPLE, TaskConfig
from goft_cli.config.task import UNTUNED
from goft_cli.tasks.families import build_benchmark, build_task
from tests.support.recipe_cells import BENCHMARKS, CHOICES, CONFIGS, TRAINED

ConfigReader = Callable[[str], TaskConfig]
NAMES = CHOICES["task"]


def test_there_are_tasks_of_both_groups() -> None:
    assert {Path(name).parts[0] for name in NAMES} >= {"demo", "glue"}


@pytest.mark.parametrize("name", NAMES)
def test_it_builds(name: str, task_config: ConfigReader) -> None:
    config = task_config(name)
    assert config.name == name
    build = build_benchmark if name in BENCHMARKS else build_task
    assert build(config).config is config
    assert config.headline_split in (config.eval_splits or [TRAIN_SAMPLE])
    sizes, trained = set(config.benchmark_sizes), name in TRAINED
    used = {*config.eval_splits, *([config.train_split] if trained else [])}
    assert not sizes or used <= sizes
    tuned = trained and config.recipe.source != UNTUNED
    assert not tuned or (CONFIGS / "model" / f"{config.recipe.model}.yaml").is_file()

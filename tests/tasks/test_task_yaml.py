"""Every YAML under configs/task describes a task that can be built; none is listed here by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.config import TRAIN_SAMPLE, TaskConfig
from goft_cli.tasks import build_benchmark, build_task
from tests.cells import BENCHMARKS, CHOICES, CONFIGS, TRAINED

ConfigReader = Callable[[str], TaskConfig]
TASKS = CONFIGS / "task"
NAMES = CHOICES["task"]


def test_there_are_tasks_of_both_groups() -> None:
    assert {Path(name).parts[0] for name in NAMES} >= {"demo", "glue"}


@pytest.mark.parametrize("name", NAMES)
def test_it_builds(name: str, task_config: ConfigReader) -> None:
    config = task_config(name)
    assert config.name == name
    build = build_benchmark if name in BENCHMARKS else build_task
    assert build(config).config is config


@pytest.mark.parametrize("name", NAMES)
def test_its_splits_agree(name: str, task_config: ConfigReader) -> None:
    config = task_config(name)
    assert config.headline_split in (config.eval_splits or [TRAIN_SAMPLE])
    sizes = set(config.benchmark_sizes)
    used = {*config.eval_splits, *([config.train_split] if name in TRAINED else [])}
    assert not sizes or used <= sizes


@pytest.mark.parametrize("name", TRAINED)
def test_its_recipe_is_for_a_model_that_exists(name: str, task_config: ConfigReader) -> None:
    recipe = task_config(name).recipe
    assert recipe.source
    assert (CONFIGS / "model" / f"{recipe.model}.yaml").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_what_it_asks(name: str) -> None:
    assert (TASKS / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")

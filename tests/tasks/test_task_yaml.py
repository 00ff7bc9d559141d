"""Every YAML under configs/task describes a task that can be built; none is listed here by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.composition import data_root
from goft_cli.config import TRAIN_SAMPLE, TaskConfig
from goft_cli.tasks import build_task

ConfigReader = Callable[[str], TaskConfig]
CONFIGS = data_root() / "configs"
TASKS = CONFIGS / "task"
NAMES = sorted(path.relative_to(TASKS).with_suffix("").as_posix() for path in TASKS.rglob("*.yaml"))


def test_there_are_tasks_of_both_groups() -> None:
    assert {Path(name).parts[0] for name in NAMES} >= {"demo", "glue"}


@pytest.mark.parametrize("name", NAMES)
def test_it_builds(name: str, task_config: ConfigReader) -> None:
    config = task_config(name)
    assert config.name == name
    assert build_task(config).config is config


@pytest.mark.parametrize("name", NAMES)
def test_its_splits_agree(name: str, task_config: ConfigReader) -> None:
    config = task_config(name)
    assert config.headline_split in (config.eval_splits or [TRAIN_SAMPLE])
    assert set(config.benchmark_sizes) <= {config.train_split, *config.eval_splits}


@pytest.mark.parametrize("name", NAMES)
def test_its_recipe_is_for_a_model_that_exists(name: str, task_config: ConfigReader) -> None:
    recipe = task_config(name).recipe
    assert recipe.source
    assert (CONFIGS / "model" / f"{recipe.model}.yaml").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_what_it_asks(name: str) -> None:
    assert (TASKS / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")

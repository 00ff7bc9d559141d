"""Read the YAMLs under configs/, and compose tasks, adapters and models, cached per test run."""

from __future__ import annotations

from functools import cache
from itertools import cycle
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from goft_cli.compose.composition import register
from goft_cli.compose.keys import group_choices
from goft_cli.config import SCHEMAS, BenchmarkConfig, TrainConfig
from goft_cli.system.locations import data_root
from tests.support.small_runs import composed

CONFIGS = data_root() / "configs"
CHOICES = group_choices((CONFIGS,))


def stated(group: str, choice: str) -> tuple[DictConfig, str]:
    """Return a YAML's own content, and the first entry of its defaults list."""
    content = OmegaConf.load(CONFIGS / group / f"{choice}.yaml")
    assert isinstance(content, DictConfig)
    first, *_ = content.pop("defaults")
    return content, first.removesuffix("@_here_")


def inherited(default: str) -> DictConfig:
    """Return what a defaults entry names: a schema, or a YAML merged onto its own defaults."""
    if default.startswith("/schema/"):
        return OmegaConf.structured(SCHEMAS[default.removeprefix("/schema/")])
    group, _, choice = default.removeprefix("/").partition("/")
    content, base = stated(group, choice)
    merged = OmegaConf.merge(inherited(base), content)
    assert isinstance(merged, DictConfig)
    return merged


def alone(place: str) -> object:
    """Return the config object of one YAML, such as `task/glue/cola`, without the other groups."""
    register()
    node = inherited(f"/{place}")
    if place.startswith("task/own/"):
        node.data_dir = str(own_data(place.removeprefix("task/")))
    return OmegaConf.to_object(node)


def own_data(task: str) -> Path:
    """Return the sample file or folder of a task for a user's own data, such as `own/chat`."""
    (found,) = (CONFIGS.parent / "tests" / "fixtures" / "own").glob(f"{Path(task).name}*")
    return found


def data_of(task: str) -> list[str]:
    """Return the override that names the data, for a task on a user's own data."""
    return [f"task.data_dir={own_data(task)}"] if task.startswith("own/") else []


def is_benchmark(task: str) -> bool:
    """Return whether a task is only scored and never trained on."""
    kind = OmegaConf.get_type(inherited(f"/task/{task}"))
    return kind is not None and issubclass(kind, BenchmarkConfig)


BENCHMARKS = [task for task in CHOICES["task"] if is_benchmark(task)]
TRAINED = [task for task in CHOICES["task"] if not is_benchmark(task)]


# Every task once, with the adapters in turn.
DIAGONAL = list(zip(TRAINED, cycle(CHOICES["adapter"]), strict=False))

# Every adapter once, with one task of each kind in turn.
FIRST = {str(OmegaConf.get_type(inherited(f"/task/{task}"))): task for task in reversed(TRAINED)}
KINDS = list(zip(cycle(FIRST.values()), CHOICES["adapter"], strict=False))


MODELS = [model for model in CHOICES["model"] if model != "auto"]
"""The models whose YAML names the weights, so all but `auto`."""


@cache
def cell(task: str, adapter: str) -> TrainConfig:
    """Compose a task with an adapter; do not change the returned object, it is cached."""
    return composed([f"task={task}", f"adapter={adapter}", *data_of(task)])


@cache
def model_cell(model: str) -> TrainConfig:
    """Compose a model with the defaults; do not change the returned object, it is cached."""
    return composed([f"model={model}"])

"""Every YAML under configs/, and each task composed with each adapter, once per test run."""

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
    """Return what a YAML states, and the first entry of its defaults list."""
    content = OmegaConf.load(CONFIGS / group / f"{choice}.yaml")
    assert isinstance(content, DictConfig)
    first, *_ = content.pop("defaults")
    return content, first.removesuffix("@_here_")


def inherited(default: str) -> DictConfig:
    """Return what an entry of a defaults list stands for: a schema, or another YAML as a whole."""
    if default.startswith("/schema/"):
        return OmegaConf.structured(SCHEMAS[default.removeprefix("/schema/")])
    group, _, choice = default.removeprefix("/").partition("/")
    content, base = stated(group, choice)
    merged = OmegaConf.merge(inherited(base), content)
    assert isinstance(merged, DictConfig)
    return merged


def alone(place: str) -> object:
    """Return what a YAML describes, such as `task/glue/cola`, with nothing composed around it."""
    register()
    node = inherited(f"/{place}")
    if place.startswith("task/own/"):
        node.data_dir = str(own_data(place.removeprefix("task/")))
    return OmegaConf.to_object(node)


def own_data(task: str) -> Path:
    """Return the sample file or folder of a task on data of the user's own, such as `own/chat`."""
    (found,) = (CONFIGS.parent / "tests" / "fixtures" / "own").glob(f"{Path(task).name}*")
    return found


def data_of(task: str) -> list[str]:
    """Return the words that name a task's data, where nothing else does."""
    return [f"task.data_dir={own_data(task)}"] if task.startswith("own/") else []


def is_benchmark(task: str) -> bool:
    """Tell whether a task is only scored."""
    kind = OmegaConf.get_type(inherited(f"/task/{task}"))
    return kind is not None and issubclass(kind, BenchmarkConfig)


BENCHMARKS = [task for task in CHOICES["task"] if is_benchmark(task)]
TRAINED = [task for task in CHOICES["task"] if not is_benchmark(task)]


# Every task, and every adapter with some task.
DIAGONAL = list(zip(TRAINED, cycle(CHOICES["adapter"]), strict=False))

# Every adapter, and every kind of task with some adapter.
FIRST = {str(OmegaConf.get_type(inherited(f"/task/{task}"))): task for task in reversed(TRAINED)}
KINDS = list(zip(cycle(FIRST.values()), CHOICES["adapter"], strict=False))


@cache
def cell(task: str, adapter: str) -> TrainConfig:
    """Compose a task with an adapter; do not change what comes back, it is shared."""
    return composed([f"task={task}", f"adapter={adapter}", *data_of(task)])


@cache
def model_cell(model: str) -> TrainConfig:
    """Compose a model with the defaults; shared as above."""
    return composed([f"model={model}"])

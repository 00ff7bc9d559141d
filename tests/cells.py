"""Every YAML under configs/, and each task composed with each adapter, once per test run."""

from __future__ import annotations

from functools import cache
from itertools import cycle, groupby

from omegaconf import DictConfig, OmegaConf

from goft_cli.command_line.keys import group_choices
from goft_cli.config import SCHEMAS, BenchmarkConfig, TrainConfig
from goft_cli.locations import data_root
from tests.small import composed

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


def is_benchmark(task: str) -> bool:
    """Tell whether a task is only scored."""
    kind = OmegaConf.get_type(inherited(f"/task/{task}"))
    return kind is not None and issubclass(kind, BenchmarkConfig)


BENCHMARKS = [task for task in CHOICES["task"] if is_benchmark(task)]
TRAINED = [task for task in CHOICES["task"] if not is_benchmark(task)]


def adapters_of(task: str, *, first: bool) -> list[str]:
    """Return those whose hyperparameters the task states, or all for the first of its kind."""
    rows = inherited(f"/task/{task}").recipe.by_adapter
    return [name for name in CHOICES["adapter"] if first or name in rows]


def recipe_of(task: str) -> str:
    """Tell recipes apart; tasks of one base share theirs."""
    return str(inherited(f"/task/{task}").recipe)


def schema_of(task: str) -> str:
    """Tell kinds of tasks apart."""
    return str(OmegaConf.get_type(inherited(f"/task/{task}")))


# The first task of each kind goes with every adapter, each other recipe with those that it names.
CELLS = [
    (task, adapter)
    for _, kind in groupby(sorted(TRAINED, key=schema_of), key=schema_of)
    for at, (_, (task, *_)) in enumerate(groupby(kind, key=recipe_of))
    for adapter in adapters_of(task, first=at == 0)
]

# Every task, and every adapter with some task.
DIAGONAL = list(zip(TRAINED, cycle(CHOICES["adapter"]), strict=False))


@cache
def cell(task: str, adapter: str) -> TrainConfig:
    """Compose a task with an adapter; do not change what comes back, it is shared."""
    return composed([f"task={task}", f"adapter={adapter}"])


@cache
def model_cell(model: str) -> TrainConfig:
    """Compose a model with the defaults; shared as above."""
    return composed([f"model={model}"])

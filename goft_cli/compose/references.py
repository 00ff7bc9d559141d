"""The tasks that `retain=` names, composed as `goft train` and `goft eval` compose them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from goft_cli.compose.composition import freeze
from goft_cli.compose.keys import group_choices
from goft_cli.compose.recomposition import compose_train
from goft_cli.compose.suggest import CommandLine
from goft_cli.compose.words import did_you_mean
from goft_cli.config import (
    BenchmarkConfig,
    EvalConfig,
    ImageClassificationConfig,
    TaskConfig,
    VicunaConfig,
)
from goft_cli.config.retain import BENCHMARK, OF, PROBE, STS, TEXT, RetainSpec, Wanted
from goft_cli.run.preflight import check_dataset
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import data_root

SHORT = "benchmark"
"""The group whose choices are short names of benchmarks."""


def retain_spec(value: object, task: TaskConfig, *, at_hand: bool = True) -> RetainSpec:
    """Read the value of `retain` for a run on a task, and compose the tasks that it names.

    Missing files are refused; with `at_hand`, so is hub data that is neither cached nor
    downloadable.

    This initializes Hydra anew, so compose first what needs its present config folders.
    """
    spec = RetainSpec.parse(value).settled(task)
    tasks: dict[Wanted, TaskConfig] = {}
    for one in spec.wanted:
        if one.kind in {TEXT, STS} and one.of and not Path(one.of).expanduser().is_file():
            raise GoftError(f"retain={one}: {one.of} is no file", "pass the path of a file")
        if one.kind in {PROBE, BENCHMARK}:
            composed = probe_task(one, task) if one.kind == PROBE else benchmark_task(one)
            if at_hand:
                check_at_hand(one, composed)
            tasks[one] = composed
    return replace(spec, tasks=tasks)


def check_at_hand(wanted: Wanted, task: TaskConfig) -> None:
    """Refuse a task whose data is neither on disk nor downloadable."""
    try:
        check_dataset(task, "task")
    except GoftError as error:
        remedy = "choose what comes with goft, such as retain=auto, or go online"
        raise GoftError(f"retain={wanted}: {error.problem}", remedy) from error


def probe_task(wanted: Wanted, of_run: TaskConfig) -> TaskConfig:
    """Compose a task to probe for, by its name or by a file or folder of the user's own."""
    place = Path(str(wanted.of)).expanduser()
    if place.exists() or place.suffix:
        images = isinstance(of_run, ImageClassificationConfig)
        kind = "images" if images else "classification"
        return compose_train([f"task=own/{kind}", f"data={wanted.of}"]).task
    names = group_choices((data_root() / "configs",))["task"]
    if wanted.of not in names:
        raise unknown(wanted, names)
    return compose_train([f"task={wanted.of}"]).task


def benchmark_task(wanted: Wanted) -> TaskConfig:
    """Compose a benchmark, by its name as a task or as `benchmark=` has it."""
    groups, name = group_choices((data_root() / "configs",)), str(wanted.of)
    if name in groups[SHORT]:
        language = ["task=demo/instructions", "model=tiny-llama", f"{SHORT}={name}"]
        found = compose_train(language).benchmark
    elif name in groups["task"]:
        words = (f"task={name}", "adapter=RUN_FOLDER")
        found = freeze(CommandLine("eval", words).compose(words), EvalConfig).task
    else:
        raise unknown(wanted, [*OF, *groups[SHORT]])
    if not isinstance(found, BenchmarkConfig):
        raise GoftError(
            f"retain={name}: it is a task to train on, not a benchmark",
            f"pass retain='{{probe: {name}}}' to fit a ridge probe for it",
        )
    if isinstance(found, VicunaConfig):
        raise GoftError(
            f"retain={name}: its answers are rated by a judge, each time at a cost",
            f"pass goft eval task={name} for the run, and for its base model",
        )
    return found


def unknown(wanted: Wanted, names: list[str]) -> GoftError:
    """Return the error for an unknown name."""
    return GoftError(
        f"retain={wanted}: there is no {wanted.of}", did_you_mean(str(wanted.of), names)
    )

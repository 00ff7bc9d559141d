"""Keys of each verb of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from goft_cli.config.adapter import AdapterConfig
from goft_cli.config.baselines import AdaLoraAdapterConfig
from goft_cli.config.choices import (
    STRENGTHS,
    Clearable,
    Harness,
    Section,
    Verify,
    check,
    check_name,
    fits_strength,
)
from goft_cli.config.decoding import Decoding
from goft_cli.config.model import ModelConfig
from goft_cli.config.retain import check_retain
from goft_cli.config.task import TaskConfig, check_scored, require_benchmark
from goft_cli.config.trainer import LauncherConfig, TrackerConfig, TrainerConfig
from goft_cli.system.errors import GoftError

UNITS = {
    f"{letter}{kind}b": base**power
    for power, letter in enumerate("kmgt", 1)
    for kind, base in (("", 1000), ("i", 1024))
}
SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(UNITS)})")
"""A number of bytes with its unit, in lower case."""


def bytes_of(text: str) -> int:
    """Return the bytes of a size such as `24GB` or `1.5 GiB`; 0 for any other text."""
    found = SIZE.fullmatch(text.replace(" ", "").lower())
    return int(float(found[1]) * UNITS[found[2]]) if found else 0


@dataclass
class TrainConfig(Section):
    """`goft train`."""

    model: ModelConfig = MISSING
    """The pretrained model."""
    task: TaskConfig = MISSING
    """Data, labels and metrics."""
    adapter: AdapterConfig = MISSING
    """What trains beside the frozen model."""
    trainer: TrainerConfig = MISSING
    """How it trains."""
    launcher: LauncherConfig = MISSING
    """How many processes train."""
    tracker: TrackerConfig = MISSING
    """Which tracker gets the curves."""
    benchmark: TaskConfig | None = None
    """A benchmark that is scored after training, with the adapter merged."""
    init_adapter: str | None = None
    """A finished run to start from: its adapter, and its head if the labels are the same."""
    verify: Verify = Verify.headline
    """Rows on which the rebuilt and the merged model must agree with the trained one: at most
    5,000 of the headline's split, or with `full` all rows of every split."""
    seed: int = 42
    """Seed of the head's weights, the order of the rows and dropout."""
    run_name: str = MISSING
    """Last part of the run folder's path."""
    output_dir: str = MISSING
    """The run folder."""
    overwrite: bool = False
    """Replace a run with another configuration in the run folder."""

    def __post_init__(self) -> None:
        for key in ("model", "task", "adapter"):
            check_name(f"{key}.name", getattr(self, key).name)
        check_name("run_name", self.run_name)
        self.adapter.check(fits_strength(self.adapter.strength), "strength", STRENGTHS, example=0.9)
        self.check(0 <= self.seed < 2**32, "seed", "at least 0 and below 2**32", example=1)
        for split in self.task.eval_splits:
            check_name("task.eval_splits", split)
        check_scored(self.task, "task")
        if not self.task.eval_splits:
            self.trainer.check_judged(self.task.name)
        if self.benchmark is not None:
            check_scored(self.benchmark, "benchmark")
            name = self.benchmark.name
            new = "a name that is not in task.eval_splits, whose scores are in the same file"
            is_new, example = name not in self.task.eval_splits, f"{name}-benchmark"
            check(is_new, "benchmark.name", name, new, example=example)
        if isinstance(self.adapter, AdaLoraAdapterConfig) and self.trainer.fp16:
            raise GoftError(
                "trainer.fp16=true: gradients that overflow in fp16 make AdaLoRA's running "
                "averages infinite",
                "pass trainer.bf16=true, or choose another adapter",
            )


@dataclass
class EvalConfig(Section):
    """`goft eval`: scores a trained run on its task or a benchmark, or a plain model on one."""

    adapter: str | None = None
    """The run folder, or the adapter folder inside it."""
    base_model: str | None = None
    """Where the run's base model is now, if it has moved since training."""
    model: ModelConfig | None = None
    """A model without an adapter, instead of a run."""
    task: TaskConfig | None = None
    """The benchmark; by default the run's own task."""
    shots: Any = None
    """Numbers of few-shot examples, instead of the benchmark's own: `5` or `[0,5]`."""
    harness: Harness = Harness.own
    """Program that scores: goft (`own`), or EleutherAI's lm-eval."""
    data_dir: str | None = None
    """Folder with local data of the task."""
    merged: bool = False
    """Merge the adapter into the weights first."""
    strength: float | None = None
    """How much of the run's adapter is used: 0 is the base model, 1 the whole adapter; by default
    the run's own `adapter.strength`."""
    retain: Any = None
    """Also measure what the run kept of the base model's abilities: `auto`, `cka`, `text`, `probe`,
    `sts`, a benchmark, or a list or a mapping of them, such as `{probe: glue/sst2}`."""
    batch_size: int = 64
    """Rows at a time."""
    output: str | None = None
    """JSON file for the scores; by default in the run folder, or in `outputs/TASK/MODEL`."""

    def __post_init__(self) -> None:
        self.check(self.batch_size > 0, "batch_size", "at least 1", example=64)
        self.check(fits_strength(self.strength), "strength", STRENGTHS, example=0.9)
        if (self.adapter is None) == (self.model is None):
            if self.task is not None:  # a task to train on may choose the model
                require_benchmark(self.task)
            found = "neither" if self.adapter is None else "both"
            raise GoftError(
                f"eval: found {found} of adapter and model",
                "pass adapter=RUN_FOLDER for a trained run, or model=NAME task=BENCHMARK for a "
                "plain model",
            )
        check_retain(self.retain, self.task)
        for key in ("model", "shots"):
            if self.task is None and getattr(self, key) is not None:
                raise GoftError(f"eval: {key} needs a benchmark", "pass task=mmlu/full too")
        if self.task is None and self.harness is not Harness.own:
            raise GoftError("eval: harness needs a benchmark", "pass task=mmlu/full too")
        of_run = self.merged or (self.base_model, self.strength) != (None, None)
        if self.model is not None and of_run:
            raise GoftError(
                "eval: merged, base_model and strength need a run", "drop them, or drop model="
            )
        if self.task is not None:
            check_scored(self.task, "task")


@dataclass
class TrainedConfig(Section):
    """Keys that the other verbs on a trained run share."""

    adapter: str = MISSING
    """The run folder, or the adapter folder inside it."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""
    strength: float | None = None
    """How much of the adapter is used: 0 is the base model, 1 the whole adapter; by default the
    run's own `adapter.strength`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(fits_strength(self.strength), "strength", STRENGTHS, example=0.9)


@dataclass
class PredictConfig(TrainedConfig, Decoding):
    """`goft predict`."""

    adapter: str = ""
    """The run folder, or the adapter folder inside it."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Several runs on one base model, by names of your own: `{a: RUN1, b: RUN2}`."""
    adapter_column: str | None = None
    """The column of `input` that names, for each row, one of `adapters`."""
    input: str | None = None
    """A table: csv, tsv, json, jsonl, parquet or arrow; a txt file, a row per line; `-` for JSON
    lines or lines of text on stdin; images: a file, a folder, a list, or a table with paths."""
    text: str | None = None
    """One text, instead of a file."""
    output: str = "predictions.jsonl"
    """The file to write, with all columns of the input; its suffix sets the format: jsonl, json,
    csv, tsv, parquet or arrow; `-` for JSON lines on stdout."""
    overwrite: bool = False
    """Replace an output file that is already there."""
    batch_size: int = 64
    """Rows at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.batch_size > 0, "batch_size", "at least 1", example=64)
        if bool(self.adapter) == bool(self.adapters):
            found = "both" if self.adapter else "neither"
            raise GoftError(
                f"predict: found {found} of adapter and adapters",
                "pass adapter=RUN_FOLDER, or several as 'adapters={a: RUN1, b: RUN2}' "
                "adapter_column=NAME",
            )
        if bool(self.adapters) != (self.adapter_column is not None):
            found = "adapters" if self.adapters else "adapter_column"
            raise GoftError(
                f"predict: found {found} alone, expected adapters and adapter_column together",
                "pass both, or adapter=RUN_FOLDER",
            )
        if self.adapters and self.text is not None:
            raise GoftError(
                "predict: text has no adapter_column to choose one of adapters",
                "pass input=FILE, or adapter=RUN_FOLDER",
            )
        if (self.input is None) == (self.text is None):
            found = "neither" if self.input is None else "both"
            raise GoftError(
                f"predict: found {found} of input and text", "pass input=FILE or text=..."
            )


@dataclass
class TerminalConfig(TrainedConfig, Decoding):
    """`goft chat`."""


@dataclass
class PlanConfig(TrainConfig):
    """`goft plan`: takes the overrides of `goft train`, and predicts the run's cost."""

    retain: Any = None
    """Measures of `goft eval retain=`, whose cost is then predicted too."""
    calibrate: bool = False
    """Time some updates of a few blocks of the model, with random weights, and extrapolate; on a
    CPU measure their memory, too."""
    fits: str | None = None
    """Find the cheapest settings that fit into a GPU's memory, such as `24GB` (with
    `trainer.use_cpu=true` the machine's); `auto` for the free memory of this device."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_retain(self.retain)
        known = self.fits in {None, "auto"} or bool(self.room)
        self.check(known, "fits", "a size such as 24GB or 24GiB, or auto", example="24GB")

    @property
    def room(self) -> int | None:
        """The bytes of `fits`; None for `auto`, or where nothing is given."""
        return None if self.fits in {None, "auto"} else bytes_of(str(self.fits))


@dataclass
class InitConfig(TrainConfig):
    """`goft init`: takes the overrides of `goft train` on your own data, and writes a task."""

    name: str | None = None
    """Name of the task; by default that of its file or folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None:
            check_name("name", self.name)


@dataclass
class DoctorConfig(TrainConfig):
    """`goft doctor`: takes the overrides of `goft train`, and checks them instead of running."""

    offline: bool = False
    """Load model and data with the network blocked, to prove that the run needs none."""
    clear: Clearable | None = None
    """Remove cached encoded rows that no run is reading now."""


@dataclass
class FetchConfig:
    """`goft fetch`: downloads a run's model and data for a machine without network."""

    model: ModelConfig = MISSING
    """The pretrained model."""
    task: TaskConfig = MISSING
    """The task whose data is downloaded."""
    output_dir: str = MISSING
    """Folder for model and data; it must be empty or new."""


@dataclass
class SchemaConfig:
    """`goft schema`."""

    output_dir: str = "schemas"
    """Folder for the schemas."""
    overwrite: bool = False
    """Replace the schemas that are already in the folder."""

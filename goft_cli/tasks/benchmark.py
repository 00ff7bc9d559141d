"""Benchmarks, which are scored but never trained on, by goft's own code or through lm_eval."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Generic

from goft_cli.config import MMLUConfig, TaskConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.files import note, write_text
from goft_cli.tasks.base import ConfigT, TaskData
from goft_cli.tasks.tokens import Model, Tokenizer


@dataclass(frozen=True)
class Scores:
    """The results of a benchmark.

    Attributes:
        metrics: value by metric name, headline included.
        predictions: one readable entry per question.
        breakdown: finer values by column, then by row of a table; none by default.
    """

    metrics: dict[str, float]
    predictions: Sequence[dict[str, Any]] = field(default_factory=list)
    breakdown: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Benchmark(ABC, Generic[ConfigT]):
    """Questions for a causal language model: `load`, then `evaluate`."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    processor_class: ClassVar[str] = "AutoTokenizer"

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def model_options(self) -> dict[str, Any]:
        """Return the entries of the model's configuration that the benchmark fixes: none."""
        return {}

    def processor_options(self) -> dict[str, Any]:
        """Return the entries of the tokenizer's configuration that the benchmark fixes: none."""
        return {}

    def fit_processor(self, processor: Tokenizer) -> None:
        """Do nothing: the tokenizer is used as it is."""
        return

    @abstractmethod
    def load(self) -> TaskData:
        """Read and check the questions."""

    def check_model(self, model: Model, tokenizer: Tokenizer, data: TaskData) -> None:
        """Refuse a model that cannot be asked these questions; by default none."""
        return

    @abstractmethod
    def evaluate(
        self, model: Model, tokenizer: Tokenizer, data: TaskData, folder: Path, batch_size: int
    ) -> Scores:
        """Ask every question and score the answers; `folder` may keep files for a later resumption.

        The model is in evaluation mode, on its device; the adapter on it or merged into it.
        """


@dataclass(frozen=True)
class LoadedBenchmark:
    """A benchmark and its questions, read before anything expensive begins."""

    benchmark: Benchmark[Any]
    data: TaskData

    @property
    def name(self) -> str:
        """The name of the benchmark."""
        return self.benchmark.config.name

    @property
    def file_stem(self) -> str:
        """The name as part of a file's name."""
        return self.name.replace("/", "-")

    def describe(self) -> dict[str, Any]:
        """Return the manifest's entry that identifies the questions."""
        return {"name": self.name, **self.data.describe(self.benchmark.config.benchmark_sizes)}

    def check_model(self, model: Model, tokenizer: Tokenizer) -> None:
        """Refuse a model that cannot be asked these questions."""
        self.benchmark.check_model(model, tokenizer, self.data)

    def score(
        self, model: Model, tokenizer: Tokenizer, folder: Path, batch_size: int, stem: str = ""
    ) -> Scores:
        """Ask a model every question, and write `predictions.STEM.jsonl` into `folder`.

        By default STEM is the benchmark's name.
        """
        name = f"predictions.{stem or self.file_stem}.jsonl"
        note(folder, name)
        scores = self.benchmark.evaluate(model.eval(), tokenizer, self.data, folder, batch_size)
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in scores.predictions]
        if lines:
            write_text(folder / name, "".join(lines))
        return scores


def load_benchmark(benchmark: Benchmark[Any]) -> LoadedBenchmark:
    """Read and check the questions."""
    return LoadedBenchmark(benchmark, benchmark.load())


def require_kind(benchmark: Benchmark[Any], auto_class: str, what: str) -> None:
    """Refuse a model without the head that the benchmark needs."""
    if auto_class != benchmark.auto_class:
        raise GoftError(
            f"benchmark {benchmark.config.name} needs an {benchmark.auto_class}, {what} has an "
            f"{auto_class}",
            "choose a task whose model generates text",
        )


class HarnessBenchmark(Benchmark[MMLUConfig]):
    """Gives the model to lm_eval, which has its own questions, prompts and averages.

    It reads only `lm_eval_task` and `shots` of the task's configuration.
    """

    def load(self) -> TaskData:
        """Load nothing: the harness reads its own data."""
        return TaskData({}, {"source": f"lm_eval {self.config.lm_eval_task}"})

    def evaluate(
        self, model: Model, tokenizer: Tokenizer, data: TaskData, folder: Path, batch_size: int
    ) -> Scores:
        """Run the harness with each number of few-shot examples: metrics like `mmlu_acc_5_shot`.

        If the harness averages over groups of tasks, the metrics are those of the groups; the
        breakdown has all tasks.
        """
        lm_eval, models = import_module("lm_eval"), import_module("lm_eval.models.huggingface")
        wrapped = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        metrics: dict[str, float] = {}
        breakdown: dict[str, dict[str, float]] = {}
        for shots in self.config.shots:
            tasks = [self.config.lm_eval_task]
            found = lm_eval.simple_evaluate(model=wrapped, tasks=tasks, num_fewshot=shots)
            every = flat_results(found["results"])
            averages = flat_results(found.get("groups") or {}) or every
            metrics |= {f"{name}_{shots}_shot": value for name, value in averages.items()}
            breakdown[f"{shots}_shot"] = every
        return Scores(metrics, breakdown=breakdown)


def build_harness(config: TaskConfig) -> HarnessBenchmark:
    """Check that the harness is installed and has the benchmark."""
    if not isinstance(config, MMLUConfig) or config.lm_eval_task is None:
        raise GoftError(
            f"harness=lm_eval: lm_eval has no task for {config.name}", "pass harness=own"
        )
    if find_spec("lm_eval") is None:
        raise GoftError(
            "harness=lm_eval: its package is not installed",
            "run pip install 'goft-cli[lm-eval]', or pass harness=own",
        )
    return HarnessBenchmark(config)


def flat_results(
    results: Mapping[str, Mapping[str, Any]], *, errors: bool = False
) -> dict[str, float]:
    """Flatten lm-eval's `{task: {"acc,none": value}}` to `{"task_acc": value}`.

    Returns the metrics, or with `errors` their standard errors. A filter of the answers follows
    the metric's name where it is not `none`.
    """
    found = {}
    for task, values in results.items():
        for key, value in values.items():
            metric, comma, kept = key.partition(",")
            if not comma or metric.endswith("_stderr") != errors or isinstance(value, str):
                continue
            parts = [task, metric.removesuffix("_stderr"), *([kept] if kept != "none" else [])]
            found["_".join(parts)] = float(value)
    return found

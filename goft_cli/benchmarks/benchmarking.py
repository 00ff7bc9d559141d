"""Bring a benchmark's questions and a model together, in `goft eval` and after a training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.system.errors import GoftError
from goft_cli.system.files import note, write_text
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores


@dataclass(frozen=True)
class LoadedBenchmark:
    """A benchmark and its questions, read before anything expensive begins."""

    benchmark: Benchmark[Any]
    data: TaskData

    @property
    def name(self) -> str:
        """What the benchmark is called."""
        return self.benchmark.config.name

    @property
    def file_stem(self) -> str:
        """The name as part of a file's name."""
        return self.name.replace("/", "-")

    def describe(self) -> dict[str, Any]:
        """Return what identifies the questions, for a manifest."""
        return {"name": self.name, **self.data.describe(self.benchmark.config.benchmark_sizes)}

    def check_model(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse a model that cannot be asked these questions."""
        self.benchmark.check_model(model, tokenizer, self.data)

    def score(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        batch_size: int,
    ) -> Scores:
        """Ask a model every question, and write `predictions.BENCHMARK.jsonl` into `folder`."""
        name = f"predictions.{self.file_stem}.jsonl"
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
    """Refuse a model with another head than the benchmark asks."""
    if auto_class != benchmark.auto_class:
        raise GoftError(
            f"benchmark {benchmark.config.name} asks an {benchmark.auto_class}, {what} has an "
            f"{auto_class}",
            "choose a task whose model generates text",
        )

"""EleutherAI's lm_eval, an optional extra, as one more way to score MMLU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import MMLUConfig, TaskConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores


class HarnessBenchmark(Benchmark[MMLUConfig]):
    """Hands the model to lm_eval, which brings its own questions, prompts and averages.

    Of the task's configuration it heeds `lm_eval_task` and `shots` alone.
    """

    def load(self) -> TaskData:
        """Load nothing: the harness reads its own data."""
        return TaskData({}, {"source": f"lm_eval {self.config.lm_eval_task}"})

    def evaluate(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: TaskData,
        folder: Path,
        batch_size: int,
    ) -> Scores:
        """Run the harness once with each number of exemplars.

        Returns:
            metrics such as `mmlu_acc_5_shot`, of the groups where the harness averages over tasks;
            those of all its tasks by number of exemplars.
        """
        lm_eval, models = import_module("lm_eval"), import_module("lm_eval.models.huggingface")
        wrapped = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        metrics: dict[str, float] = {}
        breakdown: dict[str, dict[str, float]] = {}
        for shots in self.config.shots:
            tasks = [self.config.lm_eval_task]
            found = lm_eval.simple_evaluate(model=wrapped, tasks=tasks, num_fewshot=shots)
            every = numbers(found["results"])
            averages = numbers(found.get("groups") or {}) or every
            metrics |= {f"{name}_{shots}_shot": value for name, value in averages.items()}
            breakdown[f"{shots}_shot"] = every
        return Scores(metrics, breakdown=breakdown)


def build_harness(config: TaskConfig) -> HarnessBenchmark:
    """Check that the harness is there and has the benchmark."""
    if not isinstance(config, MMLUConfig) or config.lm_eval_task is None:
        raise GoftError(
            f"harness=lm_eval: it has no counterpart of task {config.name}",
            "pass harness=own",
        )
    if find_spec("lm_eval") is None:
        raise GoftError(
            "harness=lm_eval: its package is not installed",
            "run pip install 'goft-cli[harness]', or pass harness=own",
        )
    return HarnessBenchmark(config)


def numbers(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Flatten `{task: {"acc,none": value}}` to `{"task_acc": value}`, without standard errors."""
    return {
        f"{task}_{key.partition(',')[0]}": float(value)
        for task, values in results.items()
        for key, value in values.items()
        if "," in key and "_stderr" not in key
    }

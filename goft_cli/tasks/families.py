"""The class behind each `task.family`: a `Task` is trained, a `Benchmark` is only scored."""

from __future__ import annotations

from typing import Any

from goft_cli.config import TaskConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Task
from goft_cli.tasks.benchmark import Benchmark
from goft_cli.tasks.chat import Chat
from goft_cli.tasks.classification import TextClassification
from goft_cli.tasks.image_classification import ImageClassification
from goft_cli.tasks.instruction import Instruction
from goft_cli.tasks.lm_eval_tasks import LmEval
from goft_cli.tasks.mmlu import MMLU
from goft_cli.tasks.question_answering import QuestionAnswering
from goft_cli.tasks.token_classification import TokenClassification
from goft_cli.tasks.vicuna import Vicuna

FAMILIES: dict[str, type[Task[Any, Any]]] = {
    "text_classification": TextClassification,
    "token_classification": TokenClassification,
    "image_classification": ImageClassification,
    "question_answering": QuestionAnswering,
    "instruction": Instruction,
    "chat": Chat,
}
BENCHMARKS: dict[str, type[Benchmark[Any]]] = {"mmlu": MMLU, "vicuna": Vicuna, "lm_eval": LmEval}


def build_task(config: TaskConfig) -> Task[Any, Any]:
    """Build the task that a configuration describes."""
    family = FAMILIES.get(config.family)
    if family is not None:
        return family(config)
    if config.family in BENCHMARKS:
        raise GoftError(
            f"task {config.name} has nothing to train on",
            f"score it with goft eval task={config.name} adapter=RUN_FOLDER",
        )
    raise GoftError(
        f"task {config.name}: unknown family {config.family!r}",
        f"task.family is one of {', '.join([*FAMILIES, *BENCHMARKS])}",
    )


def build_benchmark(config: TaskConfig) -> Benchmark[Any]:
    """Build the benchmark that a configuration describes."""
    family = BENCHMARKS.get(config.family)
    if family is None:
        raise GoftError(
            f"task {config.name} is no benchmark (task.family={config.family})",
            f"expected one of {', '.join(BENCHMARKS)}",
        )
    return family(config)
